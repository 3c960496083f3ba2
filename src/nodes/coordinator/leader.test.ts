import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StoreError, UnreachableError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { followLeader } from '#nodes/coordinator/follow-leader.js'
import { type Candidate, startCandidate } from '#nodes/coordinator/leader.js'
import { type FaultSource, noFault } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

const runtime = systemRuntime
const leaseMs = 60

class Member {
  readonly meta: MemoryMeta
  readonly candidate: Candidate
  isDead = false

  constructor(disk: MemoryMetaDisk, id: string, faults: FaultSource = () => noFault) {
    this.meta = new MemoryMeta(disk, { runtime, faults })
    this.candidate = startCandidate({ meta: this.meta, runtime, id, leaseMs })
  }

  /** As a process that is killed: nothing is given back. */
  kill(): void {
    this.isDead = true
    this.meta.crash()
    void this.candidate.stop()
  }
}

const leaders = (members: readonly Member[]) =>
  members.filter(({ candidate, isDead }) => !isDead && candidate.isLeading())

test('one leads; when it dies another does, and knows what was written; who does not lead says so', async () => {
  const disk = new MemoryMetaDisk(runtime)
  const members = ['a', 'b', 'c'].map((id) => new Member(disk, id))
  const coordinator = followLeader({ coordinators: members.map((m) => m.candidate), runtime })
  let last = 0
  for (let round = 0; round < 3; round += 1) {
    await expect.poll(() => leaders(members).length).toBe(1)
    expect(await coordinator.appendDdl(round, [Uint8Array.of(round)])).toBe(true)
    for (let n = 0; n < 20; n += 1) {
      const drawn = await coordinator.timestamp()
      expect(drawn).toBeGreaterThan(last)
      last = drawn
    }
    const [leader] = leaders(members)
    const standby = members.find((member) => !member.isDead && member !== leader)
    if (standby !== undefined) {
      await expect(standby.candidate.timestamp()).rejects.toMatchObject({ sqlState: '57P03' })
    }
    if (round < 2) leader?.kill()
  }
  expect((await coordinator.ddlLog()).map(([first]) => first)).toEqual([0, 1, 2])
  await Promise.all(members.map(({ candidate }) => candidate.stop()))
})

test('a leader that stops gives way at once, and leaves no lease behind', async () => {
  const disk = new MemoryMetaDisk(runtime)
  const first = new Member(disk, 'a')
  await expect.poll(() => first.candidate.isLeading()).toBe(true)
  const second = new Member(disk, 'b')
  await first.candidate.stop()
  await expect.poll(() => second.candidate.isLeading()).toBe(true)
  await second.candidate.stop()
  await expect.poll(() => disk.leases()).toEqual([])
})

test('a leader that cannot reach the store stops leading, and does no harm before it knows', async () => {
  const disk = new MemoryMetaDisk(runtime)
  let isCut = false
  const first = new Member(disk, 'a', () => (isCut ? { ...noFault, kind: 'refused' } : noFault))
  await expect.poll(() => first.candidate.isLeading()).toBe(true)
  const second = new Member(disk, 'b')
  isCut = true
  await expect(first.candidate.timestamp()).rejects.toBeInstanceOf(StoreError)
  await expect.poll(() => second.candidate.isLeading()).toBe(true)
  await expect.poll(() => first.candidate.isLeading()).toBe(false)
  isCut = false
  await expect(first.candidate.timestamp()).rejects.toMatchObject({ sqlState: '57P03' })
  await first.candidate.stop()
  await second.candidate.stop()
})

test('a leader whose store is silent stops leading when its lease ends, and lets go of those who wait', async () => {
  const disk = new MemoryMetaDisk(runtime)
  let isSilent = false
  const forever = 3_600_000
  const first = new Member(disk, 'a', () =>
    isSilent ? { ...noFault, delayBeforeMs: forever } : noFault,
  )
  await expect.poll(() => first.candidate.isLeading()).toBe(true)
  const second = new Member(disk, 'b')
  isSilent = true
  const coordinator = followLeader({
    coordinators: [first.candidate, second.candidate],
    runtime,
  })
  // Both were asked while the first still led.
  const waiting = first.candidate.timestamp()
  const drawn = coordinator.timestamp()
  await expect(waiting).rejects.toMatchObject({ outcome: 'indeterminate' })
  expect(await drawn).toBeGreaterThan(0)
  expect(first.candidate.isLeading()).toBe(false)
  await second.candidate.stop()
  first.kill()
})

/** Loses requests and answers. */
function lossy(coordinator: Coordinator, chance: () => number): Coordinator {
  return new Proxy(coordinator, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...given: unknown[]) => Promise<unknown>
      return async (...given: unknown[]) => {
        const drawn = chance()
        if (drawn < 0.15) throw new UnreachableError('determinate', 'lost on the way there')
        if (drawn < 0.3) throw new UnreachableError('indeterminate', 'lost on the way there')
        const answer = await method.apply(target, given)
        if (drawn < 0.5) throw new UnreachableError('indeterminate', 'lost on the way back')
        return answer
      }
    },
  })
}

const step = fc.oneof(
  fc.record({ kind: fc.constantFrom('timestamp', 'ddl', 'ids', 'counter', 'owner', 'setting') }),
  fc.record({ kind: fc.constant('kill') }),
)

test('over lost answers and dying leaders everything happens once, or wastes numbers', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(), async (steps, seed) => {
      let state = seed
      const chance = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return state / 2 ** 32
      }
      const disk = new MemoryMetaDisk(runtime)
      const members: Member[] = [new Member(disk, 'a'), new Member(disk, 'b')]
      const slots = [0, 1].map(
        (at) =>
          new Proxy({} as Coordinator, {
            get: (_, name) => Reflect.get(members[at]?.candidate ?? {}, name),
          }),
      )
      const coordinator = followLeader({
        coordinators: slots.map((slot) => lossy(slot, chance)),
        runtime,
      })
      let last = 0
      let version = 0
      const ids = new Set<number>()
      let counter = 0
      let owner: { term: number; servesBefore: Timestamp } | undefined
      let written = 0
      for (const { kind } of steps) {
        if (kind === 'timestamp') {
          const drawn = await coordinator.timestamp()
          expect(drawn).toBeGreaterThan(last)
          last = drawn
        } else if (kind === 'ddl') {
          expect(await coordinator.appendDdl(version, [Uint8Array.of(version)])).toBe(true)
          version += 1
          expect(await coordinator.appendDdl(version - 1, [Uint8Array.of(255)])).toBe(false)
        } else if (kind === 'ids') {
          for (const id of await coordinator.allocateSegmentIds(3)) {
            expect(ids.has(id)).toBe(false)
            ids.add(id)
          }
        } else if (kind === 'counter') {
          const first = await coordinator.leaseCounter('s', 5, 1)
          expect(first).toBeGreaterThan(counter)
          counter = first + 4
        } else if (kind === 'owner') {
          const next = { term: (owner?.term ?? 0) + 1, servesBefore: last as Timestamp }
          expect(await coordinator.setLogChannelOwner('log-0', owner, next)).toBe(true)
          owner = next
        } else if (kind === 'setting') {
          written += 1
          await coordinator.putSetting('x', Uint8Array.of(written))
        } else {
          const at = members.findIndex(({ candidate }) => candidate.isLeading())
          const dying = members[at]
          if (dying === undefined) continue
          dying.kill()
          members[at] = new Member(disk, `again ${at}`)
        }
      }
      const log = await coordinator.ddlLog()
      expect(log.map(([first]) => first)).toEqual(Array.from({ length: version }, (_, n) => n))
      expect(await coordinator.logChannelOwner('log-0')).toEqual(owner)
      if (written > 0) expect(await coordinator.getSetting('x')).toEqual(Uint8Array.of(written))
      await Promise.all(members.map(({ candidate }) => candidate.stop()))
    }),
    { numRuns: 25, endOnFailure: true },
  )
}, 60_000)
