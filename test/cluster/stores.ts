/** Services that are slow, full or refuse: stopped for a while (SIGSTOP), dead for half a minute, without space. */
import type { Random } from '../differential/random.js'
import { mountSmallDisk, type SmallDisk } from '../full-disk/small-disk.js'
import type { Programs } from './programs.js'
import type { Disturbance } from './run-disturbances.js'

/** Room that a service has, so that it can be used up. */
const megabytes = 512

export interface Disks {
  /** Of services, and of the folder of objects where there is one. */
  readonly full: ReadonlyMap<string, SmallDisk>
  unmount(): void
}

/** Before the services are started. @returns why there are none, in words */
export function mountDisks(programs: Programs): Disks | string {
  const full = new Map<string, SmallDisk>()
  for (const name of ['etcd', 'kafka', 'minio', 'objects']) {
    const disk = mountSmallDisk(megabytes, programs.dataOf(name))
    if (typeof disk === 'string') return disk
    full.set(name, disk)
  }
  return {
    full,
    unmount() {
      for (const disk of full.values()) disk.unmount()
    },
  }
}

export function* troubles(
  programs: Programs,
  random: Random,
  disks: Disks | undefined,
): Generator<Disturbance, never> {
  for (;;) {
    for (const service of programs.services()) {
      for (const seconds of [3, 15, 40]) {
        yield {
          ...{ name: `${service} stands still for ${seconds} s`, lastsMs: seconds * 1000 },
          steadyMs: random.integer(2000, 4000),
          begin: async () => programs.signal(service, 'SIGSTOP'),
          end: async () => programs.signal(service, 'SIGCONT'),
        }
      }
      yield {
        ...{ name: `${service} refuses connections for 30 s`, lastsMs: 30_000 },
        steadyMs: random.integer(2000, 4000),
        begin: () => programs.kill([service]),
        end: () => programs.restart([service]),
      }
    }
    for (const [name, disk] of disks?.full ?? []) {
      // Objects lie in one of the two.
      if (name === 'objects' && programs.services().includes('minio')) continue
      if (name === 'minio' && !programs.services().includes('minio')) continue
      yield {
        ...{ name: `the disk of ${name} is full for 20 s`, lastsMs: 20_000 },
        steadyMs: random.integer(2000, 4000),
        begin: () => disk.fill(),
        async end() {
          await disk.free()
          // Kafka and etcd end themselves when they cannot write.
          if (name !== 'objects') await programs.restart([name])
        },
      }
    }
  }
}
