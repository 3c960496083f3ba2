/**
 * The stores of the simulated cluster: disks that outlive the processes, and each process' own handles on them, with faults.
 *
 * Fault model (storage/faults.ts): an operation is late, refused, lost, or done though it was told that it failed; a store may
 * be away for a while (refuses everything); a crash loses what the process had not synced to the log, but for some of the
 * oldest appends. What a store has acknowledged stays.
 */

import { compareBytes } from '#storage/byte-order.js'
import { type Fault, type FaultKind, type FaultSource, FaultyPath } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import type { MetaStore } from '#storage/meta/meta.js'
import type { ObjectStore } from '#storage/objects/objects.js'
import { MemoryWal, MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'
import type { Wal, WalWriter } from '#storage/wal/wal.js'
import { SimFiles } from './files.js'
import { SimProcess } from './process.js'
import type { Random } from './random.js'
import type { World } from './world.js'

export type StoreKind = 'wal' | 'meta' | 'objects'

export interface StoreFaults {
  /** Probability per operation. */
  refused: number
  lost: number
  doneUnknown: number
  /** After one of these. */
  goneAfterUnknown: number
  delayMsMax: number
  /** Refuses everything until then. */
  awayUntilMs: number
}

/** No faults. */
export const quiet: StoreFaults = {
  refused: 0,
  lost: 0,
  doneUnknown: 0,
  goneAfterUnknown: 0,
  delayMsMax: 1,
  awayUntilMs: 0,
}

export class ObjectsDisk {
  readonly objects = new Map<string, Uint8Array>()
  /** Names that were there once. */
  readonly deleted = new Set<string>()
}

/** All of it is shared by all processes, as Kafka, etcd and S3 are. */
export class Disks {
  readonly meta: MemoryMetaDisk
  readonly wal = new MemoryWalDisk()
  readonly objects = new ObjectsDisk()
  readonly faults: Record<StoreKind, StoreFaults>

  constructor(world: World) {
    // It has a clock of its own, which leases end by.
    this.meta = new MemoryMetaDisk(new SimProcess(world, 'meta', { skewMs: 0, drift: 1 }).runtime)
    this.faults = { wal: { ...quiet }, meta: { ...quiet }, objects: { ...quiet } }
  }
}

export interface Stores {
  readonly meta: MetaStore
  readonly wal: Wal
  readonly objects: ObjectStore
  readonly files: SimFiles
}

/** Handles for one life of a process: they end with it. */
export function openStores(process: SimProcess, disks: Disks): Stores {
  const { world, runtime } = process
  const random = world.random.fork()
  const faults = faultSource(world, random, disks)
  const files = new SimFiles()
  const meta = new MemoryMeta(disks.meta, { runtime, faults })
  const wal = new MemoryWal(disks.wal, { runtime, faults })
  const objects = new SimObjects(
    disks.objects,
    disks.meta,
    new FaultyPath(runtime, faults),
    files,
    world,
  )
  process.onDeath(() => {
    meta.crash()
    wal.crash((_, unsyncedCount) => random.below(unsyncedCount + 1))
    objects.crash()
  })
  const { bug } = world
  return {
    meta,
    wal: watchWal(bug.wal?.(wal, disks.wal, random) ?? wal, disks, world),
    objects: bug.objects?.(objects, random) ?? objects,
    files,
  }
}

function faultSource(world: World, random: Random, disks: Disks): FaultSource {
  return (operation): Fault => {
    const store = operation.slice(0, operation.indexOf('.')) as StoreKind
    const faults = disks.faults[store]
    const delay = (): number => random.next() * random.next() * faults.delayMsMax
    const fault = (kind: FaultKind): Fault => {
      if (kind !== 'none') world.count(`${store} ${kind}`)
      return { kind, delayBeforeMs: delay(), delayAfterMs: delay() }
    }
    if (world.nowMs < faults.awayUntilMs) return fault('refused')
    let chance = random.next()
    for (const [kind, probability] of [
      ['refused', faults.refused],
      ['lost', faults.lost],
      ['done-unknown', faults.doneUnknown],
    ] as const) {
      chance -= probability
      if (chance >= 0) continue
      if (kind === 'done-unknown' && random.chance(faults.goneAfterUnknown)) {
        faults.awayUntilMs = world.nowMs + random.between(5, 150)
      }
      return fault(kind)
    }
    return fault('none')
  }
}

/** WAL-3, seen from the log itself: whoever has been fenced appends nothing any more. */
function watchWal(wal: Wal, disks: Disks, world: World): Wal {
  return {
    async openWriter(logChannel): Promise<WalWriter> {
      const writer = await wal.openWriter(logChannel)
      const channel = disks.wal.channel(logChannel)
      const newest = world.fences.get(logChannel)
      if (newest === undefined || writer.term > newest.term) {
        world.fences.set(logChannel, { term: writer.term, position: channel.end })
      }
      return {
        term: writer.term,
        async append(payloads) {
          const positions = await writer.append(payloads)
          noteAppended(world, disks, logChannel, positions)
          const fence = world.fences.get(logChannel)
          const [first] = positions
          if (
            fence !== undefined &&
            first !== undefined &&
            writer.term < fence.term &&
            first >= fence.position
          ) {
            world.violate(
              'WAL-3',
              `term ${writer.term} appended at ${first} of ${logChannel}, which term ${fence.term} owns`,
            )
          }
          return positions
        },
        close: () => writer.close(),
      }
    },
    read: (logChannel, from) => wal.read(logChannel, from),
    endPosition: (logChannel) => wal.endPosition(logChannel),
    async truncate(logChannel, before) {
      world.count('log truncated')
      await wal.truncate(logChannel, before)
    },
    close: () => wal.close(),
  }
}

/** WAL-1, seen from the log itself: what it has acknowledged is there, at a place of its own. */
function noteAppended(
  world: World,
  disks: Disks,
  logChannel: string,
  positions: readonly number[],
): void {
  const last = positions.at(-1)
  if (last === undefined) return
  const { end } = disks.wal.channel(logChannel)
  if (last >= end) {
    world.violate(
      'WAL-1',
      `an append up to ${last} of ${logChannel} was acknowledged, the log ends at ${end}`,
    )
  }
}

class SimObjects implements ObjectStore {
  readonly #disk: ObjectsDisk
  readonly #path: FaultyPath
  readonly #files: SimFiles
  readonly #world: World
  readonly #meta: MemoryMetaDisk

  constructor(
    disk: ObjectsDisk,
    meta: MemoryMetaDisk,
    path: FaultyPath,
    files: SimFiles,
    world: World,
  ) {
    this.#disk = disk
    this.#meta = meta
    this.#path = path
    this.#files = files
    this.#world = world
  }

  async put(name: string, bytes: Uint8Array, options: { readonly ifAbsent?: boolean } = {}) {
    const copied = new Uint8Array(bytes)
    return await this.#path.write('objects.put', name, () => {
      if (options.ifAbsent === true && this.#disk.objects.has(name)) return 'exists' as const
      this.#disk.objects.set(name, copied)
      this.#disk.deleted.delete(name)
      return 'stored' as const
    })
  }

  async putFile(name: string, path: string): Promise<void> {
    const bytes = this.#files.read(path)
    await this.put(name, bytes)
    await this.#files.remove(path)
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    const found = await this.#path.read('objects.get', name, () => this.#disk.objects.get(name))
    if (found === undefined && this.#disk.deleted.has(name))
      this.#world.count('object read after delete')
    return found?.slice()
  }

  async getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined> {
    return (await this.get(name))?.slice(offset, offset + length)
  }

  async localPath(name: string): Promise<string | undefined> {
    const bytes = await this.get(name)
    if (bytes === undefined) return undefined
    this.#files.put(`cache/${name}`, bytes)
    return `cache/${name}`
  }

  async *list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }> {
    yield* await this.#path.read('objects.list', prefix, () =>
      [...this.#disk.objects]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, bytes]) => ({ name, size: bytes.length }))
        .sort((left, right) => compareBytes(left.name, right.name)),
    )
  }

  async delete(name: string): Promise<void> {
    await this.#path.write('objects.delete', name, () => {
      if (!this.#disk.objects.delete(name)) return
      this.#checkUnused(name)
      this.#disk.deleted.add(name)
      this.#world.count('object deleted')
    })
  }

  /** OBJ-1: nothing on record names it. */
  #checkUnused(name: string): void {
    for (const { key, value } of this.#meta.entries.values()) {
      if (!key.startsWith('segment/') || !Buffer.from(value).includes(`"${name}"`)) continue
      this.#world.violate('OBJ-1', `${name} is deleted, and ${key} names it`)
    }
  }

  crash(): void {
    this.#path.end('crashed')
  }

  async close(): Promise<void> {
    this.#path.end('closed')
  }
}
