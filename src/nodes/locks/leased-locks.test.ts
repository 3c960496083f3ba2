/** The lock service of a cluster: leases of proxies through deaths of proxies and of leaders. */
import { expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import { startCandidate } from '#nodes/coordinator/leader.js'
import type { LockService } from '#nodes/locks/contract.js'
import { type FollowedLocks, followLocks } from '#nodes/locks/follow-locks.js'
import { openLeasedLocks } from '#nodes/locks/leased-locks.js'
import { TestSession } from '#nodes/locks/locks.testing.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

const runtime = systemRuntime

/** A coordinator's process: the lock service while it leads. */
class Member {
  readonly meta: MemoryMeta
  readonly candidate: ReturnType<typeof startCandidate>
  locks: LockService | undefined
  isDead = false

  constructor(disk: MemoryMetaDisk, id: string) {
    this.meta = new MemoryMeta(disk, { runtime })
    this.candidate = startCandidate({
      ...{ meta: this.meta, runtime, id, leaseMs: 1000 },
      onLeading: (coordinator, signal) => {
        const onError = () => {}
        openLeasedLocks({ coordinator, runtime, signal, onError }).then(
          (locks) => {
            if (!this.isDead) this.locks = locks
          },
          () => {},
        )
        signal.addEventListener('abort', () => {
          this.locks = undefined
        })
      },
    })
  }

  /** As a process that is killed: nobody hears of it. */
  kill(): void {
    this.isDead = true
    this.locks = undefined
    this.meta.crash()
    void this.candidate.stop()
  }
}

class Cluster {
  readonly disk = new MemoryMetaDisk(runtime)
  readonly members = ['a', 'b'].map((id) => new Member(this.disk, id))
  readonly lost: number[] = []
  readonly #proxies: FollowedLocks[] = []

  proxy(): FollowedLocks {
    const proxy = followLocks({
      services: () => this.members.flatMap(({ locks }) => locks ?? []),
      runtime,
      onSessionsLost: (sessions) => this.lost.push(...sessions),
      onError: () => {},
    })
    this.#proxies.push(proxy)
    return proxy
  }

  get leader(): Member {
    const leader = this.members.find(({ isDead, locks }) => !isDead && locks !== undefined)
    if (leader === undefined) throw new Error('nobody leads')
    return leader
  }

  async stop(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()))
    await Promise.all(this.members.map(({ candidate }) => candidate.stop()))
  }
}

async function lease(locks: FollowedLocks) {
  const found = locks.lease()
  if (found === undefined) throw new Error('no lease')
  return found
}

test('sessions of two proxies exclude each other, and their deadlocks are found', async () => {
  const cluster = new Cluster()
  const one = new TestSession(cluster.proxy(), 'p', 1)
  const two = new TestSession(cluster.proxy(), 'q', 1)
  expect((await one.attempt({ names: ['a'] })).outcome).toBe('held')
  expect((await two.attempt({ names: ['b'] })).outcome).toBe('held')
  expect((await two.attempt({ names: ['a'] })).outcome).toBe('blocked')
  const waiting = one.wait({ names: ['b'] })
  await expect(two.wait({ names: ['a'] })).rejects.toMatchObject({ sqlState: '40P01' })
  await two.end()
  expect((await waiting).outcome).toBe('held')
  await cluster.stop()
})

test('a proxy that is gone keeps its locks until its lease is over, and no longer', async () => {
  const cluster = new Cluster()
  const dying = cluster.proxy()
  const one = new TestSession(dying, 'p', 1)
  const two = new TestSession(cluster.proxy(), 'q', 1)
  await one.attempt({ names: ['a'] })
  await dying.stop()
  const promised = (await lease(dying)).holdsBefore
  expect((await two.wait({ names: ['a'] })).outcome).toBe('held')
  expect(await cluster.leader.candidate.timestamp()).toBeGreaterThan(promised)
  // It comes back: another lease, and not its lock.
  const again = await one.attempt({ names: ['a'] })
  expect(again.outcome).toBe('blocked')
  expect(again.lease?.id).not.toBe((await lease(cluster.proxy()).catch(() => undefined))?.id)
  await cluster.stop()
}, 15_000)

test('a lease is kept while something is held', async () => {
  const cluster = new Cluster()
  const proxy = cluster.proxy()
  const one = new TestSession(proxy, 'p', 1)
  await one.attempt({ names: ['a'] })
  const first = await lease(proxy)
  await runtime.sleep(4500)
  expect((await lease(proxy)).id).toBe(first.id)
  expect((await lease(proxy)).holdsBefore).toBeGreaterThan(first.holdsBefore)
  const two = new TestSession(cluster.proxy(), 'q', 1)
  expect((await two.attempt({ names: ['a'] })).outcome).toBe('blocked')
  await cluster.stop()
}, 15_000)

test('a session that asks when the lease of an idle proxy has ended has lost nothing', async () => {
  const cluster = new Cluster()
  const proxy = cluster.proxy()
  const before = new TestSession(proxy, 'p', 1)
  await before.attempt({ names: ['a'], scope: 'session' })
  const first = await lease(proxy)
  await before.close()
  await runtime.sleep(4500)
  const after = new TestSession(proxy, 'p', 2)
  expect((await after.attempt({ names: ['a'], scope: 'session' })).outcome).toBe('held')
  expect((await lease(proxy)).id).not.toBe(first.id)
  expect(cluster.lost).toEqual([])
  // It holds it, and is told when it does no more.
  cluster.leader.kill()
  const other = new TestSession(proxy, 'p', 3)
  await other.wait({ names: ['b'] })
  expect(cluster.lost).toEqual([2])
  await cluster.stop()
}, 20_000)

test('a new leader gives locks after everything that the one before promised', async () => {
  const cluster = new Cluster()
  const proxy = cluster.proxy()
  const one = new TestSession(proxy, 'p', 1)
  const own = new TestSession(proxy, 'p', 2)
  const two = new TestSession(cluster.proxy(), 'q', 1)
  await one.attempt({ names: ['a'] })
  await own.attempt({ names: ['mine'], scope: 'session' })
  const before = await lease(proxy)
  const waiting = two.wait({ names: ['a'] })
  cluster.leader.kill()
  expect((await waiting).outcome).toBe('held')
  expect(await cluster.leader.candidate.timestamp()).toBeGreaterThan(before.holdsBefore)
  // Whoever held it is told that it is lost, and cannot commit in time either.
  const answer = await one.attempt({ names: ['b'] })
  expect(answer.lease?.id).not.toBe(before.id)
  expect(cluster.lost).toEqual([2])
  await cluster.stop()
}, 15_000)

test('the locks of a commit whose answer was lost are kept until it can happen no more', async () => {
  const cluster = new Cluster()
  const proxy = cluster.proxy()
  const one = new TestSession(proxy, 'p', 1)
  const two = new TestSession(cluster.proxy(), 'q', 1)
  await one.attempt({ names: ['a'] })
  const { holdsBefore } = await lease(proxy)
  await one.end(true)
  expect((await two.wait({ names: ['a'] })).outcome).toBe('held')
  expect(await cluster.leader.candidate.timestamp()).toBeGreaterThan(holdsBefore)
  await cluster.stop()
}, 15_000)

test('a wait can be cancelled while nobody keeps the locks', async () => {
  const locks = followLocks({
    ...{
      services: () => [],
      runtime,
      onSessionsLost: () => {},
      onError: () => {},
      patienceMs: 100,
    },
  })
  const one = new TestSession(locks, 'p', 1)
  const cancel = new AbortController()
  const waiting = one.wait({ names: ['a'] }, cancel.signal)
  cancel.abort(new Error('cancelled'))
  await expect(waiting).rejects.toThrow('cancelled')
  expect(
    await locks
      .taken({ ...one.request({ names: [] }), names: new Float64Array() })
      .catch(() => 'nobody'),
  ).toBe('nobody')
  expect(backgroundContext.signal.aborted).toBe(false)
  await locks.stop()
}, 15_000)

test('a session that has gone gets nothing: its first request waits for the lease of its proxy, its end does not', async () => {
  const cluster = new Cluster()
  await expect.poll(() => cluster.members.some(({ locks }) => locks !== undefined)).toBe(true)
  const service = cluster.leader.locks as LockService
  const other = new TestSession(service, 'other', 2)
  for (const how of ['session', 'transaction'] as const) {
    const gone = new TestSession(service, `proxy of a ${how}`, 1)
    const asking = gone.attempt({ names: ['a'] }).catch((error: unknown) => error)
    await (how === 'session' ? gone.close() : gone.end())
    expect(await asking).toMatchObject({ sqlState: '57014' })
    expect((await other.attempt({ names: ['a'] })).outcome).toBe('held')
    await other.end()
  }
  await cluster.stop()
})
