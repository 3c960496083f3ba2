/** Row, key, advisory and table locks of one table of locks: exclusion, waiting, deadlocks, savepoints, repeated requests. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLocalLocks } from '#nodes/locks/local-locks.js'
import { soon, TestSession } from '#nodes/locks/locks.testing.js'

const held = { outcome: 'held', lease: undefined }
const blocked = { outcome: 'blocked', lease: undefined }

function open(count: number) {
  const locks = createLocalLocks()
  const sessions = Array.from({ length: count }, (_, i) => new TestSession(locks, 'p', i + 1))
  return { locks, sessions: sessions as [TestSession, TestSession, ...TestSession[]] }
}

test('exclusive excludes, shared does not; a transaction’s end frees what it took', async () => {
  const { sessions } = open(3)
  const [one, two, three] = sessions
  expect(await one.attempt({ names: ['a'], mode: 'shared' })).toEqual(held)
  expect(await two.attempt({ names: ['a'], mode: 'shared' })).toEqual(held)
  expect(await three?.attempt({ names: ['a'] })).toEqual(blocked)
  const waiting = three?.wait({ names: ['a'] }) ?? Promise.reject(new Error())
  await one.end()
  expect(await soon(waiting)).toBe('waiting')
  await two.end()
  expect(await soon(waiting)).toEqual(held)
  expect(await one.attempt({ names: ['a'], mode: 'shared' })).toEqual(blocked)
})

test('rows: in order up to the first that is taken, or all or none; others are told which are taken', async () => {
  const { locks, sessions } = open(3)
  const [one, two] = sessions
  const rows = Float64Array.of(1, 2, 3)
  await one.attempt({ space: 7, names: Float64Array.of(2) })
  expect(await two.attempt({ space: 7, names: rows, take: 'all' })).toEqual(blocked)
  expect(await one.attempt({ space: 7, names: Float64Array.of(1) })).toEqual(held)
  await one.rollbackTo(0)
  one.transaction += 1
  await one.attempt({ space: 7, names: Float64Array.of(2) })
  expect(await two.attempt({ space: 7, names: rows })).toEqual(blocked)
  expect(await one.attempt({ space: 7, names: Float64Array.of(1) })).toEqual(blocked)
  const query = { proxy: 'p', session: 3, space: 7, mode: 'exclusive', names: rows } as const
  expect([...(await locks.taken(query))]).toEqual([1, 2])
  expect([...(await locks.taken({ ...query, session: 2 }))]).toEqual([2])
  // Another table's.
  expect(await two.attempt({ space: 8, names: Float64Array.of(2) })).toEqual(held)
})

test('after a wait for a row it is looked at again; nothing has been taken', async () => {
  const { sessions } = open(2)
  const [one, two] = sessions
  await one.attempt({ space: 7, names: Float64Array.of(1) })
  const waiting = two.wait({ space: 7, names: Float64Array.of(1), afterWait: 'look' })
  expect(await soon(waiting)).toBe('waiting')
  await one.end()
  expect((await waiting).outcome).toBe('waited')
  expect(await one.attempt({ space: 7, names: Float64Array.of(1) })).toEqual(held)
})

test('what was taken after a savepoint is released by going back to it, also a stronger mode', async () => {
  const { sessions } = open(2)
  const [one, two] = sessions
  await one.attempt({ names: ['a'] })
  await one.attempt({ names: ['c'], mode: 'shared' })
  one.mark = 1
  await one.attempt({ names: ['a', 'b', 'c'] })
  one.mark = 2
  await one.attempt({ names: ['d'] })
  await one.rollbackTo(1)
  expect(await two.attempt({ names: ['a'] })).toEqual(blocked)
  expect(await two.attempt({ names: ['c'] })).toEqual(blocked)
  expect(await two.attempt({ names: ['c'], mode: 'shared' })).toEqual(held)
  expect(await two.attempt({ names: ['b', 'd'] })).toEqual(held)
})

test('locks of the session outlive its transactions, are counted, and go with it', async () => {
  const { sessions } = open(2)
  const [one, two] = sessions
  await one.attempt({ names: ['a'], scope: 'session' })
  await one.attempt({ names: ['a'], scope: 'session' })
  await one.attempt({ names: ['a'] })
  await one.end()
  expect(await one.releaseOne('a')).toBe(true)
  expect(await two.attempt({ names: ['a'] })).toEqual(blocked)
  expect(await one.releaseOne('a')).toBe(true)
  expect(await one.releaseOne('a')).toBe(false)
  expect(await two.attempt({ names: ['a'] })).toEqual(held)
  await two.attempt({ names: ['b'], scope: 'session' })
  await two.close()
  expect(await one.attempt({ names: ['a', 'b'] })).toEqual(held)
})

test('a request that comes twice is granted once; one that comes after its transaction’s end gets nothing', async () => {
  const { locks, sessions } = open(2)
  const [one, two] = sessions
  const context = { signal: new AbortController().signal }
  const request = one.request({ names: ['a'], scope: 'session' })
  await locks.attempt(request, context)
  await locks.attempt(request, context)
  expect(await one.releaseOne('a')).toBe(true)
  expect(await one.releaseOne('a')).toBe(false)
  const late = one.request({ names: ['a'] })
  await one.end()
  await expect(locks.attempt(late, context)).rejects.toMatchObject({ sqlState: '57014' })
  const later = one.request({ names: ['a'] })
  await one.close()
  await expect(locks.attempt(later, context)).rejects.toMatchObject({ sqlState: '57014' })
  expect(await two.attempt({ names: ['a'] })).toEqual(held)
})

test('whoever closes the circle gets 40P01, whatever the locks are; the others go on', async () => {
  const { sessions } = open(3)
  const [one, two, three] = sessions
  await one.attempt({ space: 7, names: Float64Array.of(1) })
  await two.attempt({ names: ['a'] })
  await three?.attempt({ space: 'table', names: [9] })
  const first = one.wait({ names: ['a'] })
  const second = two.wait({ space: 'table', names: [9] })
  const third = three?.wait({ space: 7, names: Float64Array.of(1) })
  await expect(third).rejects.toMatchObject({
    sqlState: '40P01',
    message: 'deadlock detected',
    fields: { detail: expect.stringContaining('Process 103 waits for ExclusiveLock on a row') },
  })
  expect(await soon(first)).toBe('waiting')
  await three?.end()
  expect(await second).toEqual(held)
  await two.end()
  expect(await first).toEqual(held)
})

test('a wait that is cancelled leaves the queue', async () => {
  const { locks, sessions } = open(2)
  const [one, two] = sessions
  await one.attempt({ names: ['a'] })
  const cancel = new AbortController()
  const waiting = two.wait({ names: ['a'] }, cancel.signal)
  expect((await locks.list(10)).map(({ isGranted }) => isGranted)).toEqual([true, false])
  cancel.abort(new Error('cancelled'))
  await expect(waiting).rejects.toThrow('cancelled')
  expect((await locks.list(10)).length).toBe(1)
  await one.end()
  expect(await locks.list(10)).toEqual([])
})

test('random sessions: nobody holds what another holds, everybody comes to an end', async () => {
  const steps = fc.array(
    fc.record({ name: fc.nat(3), mode: fc.constantFrom('shared', 'exclusive') }),
    {
      maxLength: 4,
    },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(steps, { minLength: 2, maxLength: 6 }),
      fc.scheduler(),
      async (plans, scheduler) => {
        const { locks, sessions } = open(plans.length)
        const holders = new Map<string, Map<TestSession, string>>()
        const run = async (session: TestSession, plan: (typeof plans)[number]) => {
          for (let attempt = 0; ; attempt += 1) {
            try {
              for (const { name, mode } of plan) {
                await scheduler.schedule(Promise.resolve())
                await session.wait({ names: [String(name)], mode })
                const others = [...(holders.get(String(name)) ?? [])].filter(([s]) => s !== session)
                expect(others.every(([, taken]) => taken === 'shared' && mode === 'shared')).toBe(
                  true,
                )
                const own = holders.get(String(name)) ?? new Map()
                if (own.get(session) !== 'exclusive') own.set(session, mode)
                holders.set(String(name), own)
              }
            } catch (error) {
              expect(error).toMatchObject({ sqlState: '40P01' })
            }
            await scheduler.schedule(Promise.resolve())
            const isDone = [...holders.values()].filter((own) => own.has(session)).length > 0
            for (const own of holders.values()) own.delete(session)
            await session.end()
            if (isDone || plan.length === 0 || attempt > 20) return
          }
        }
        const all = Promise.all(plans.map((plan, i) => run(sessions[i] as TestSession, plan)))
        await scheduler.waitFor(all)
        expect(await locks.list(100)).toEqual([])
      },
    ),
  )
})
