/** What every meta store must do; run by each adapter's tests. */
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { metaKeyBytesMax, metaValueBytesMax } from '#base/limits.js'
import type { MetaOperation, MetaOutcome, MetaStore } from '#storage/meta/meta.js'

export interface MetaUnderTest {
  readonly meta: MetaStore
  /** Leases end by themselves, after the time they were granted for (at least a second). */
  readonly leasesEnd?: boolean
  /** Closes the store and opens it again with what is durable. */
  reopen(): Promise<MetaStore>
  /** The same store as another process sees it, at the same time; absent where there is one process only. */
  readonly another?: () => MetaStore
  cleanup(): Promise<void>
}

type Scenario = (title: string, run: (under: MetaUnderTest) => Promise<void>) => void

const text = (value: string) => new Uint8Array(Buffer.from(value, 'utf8'))
const put = (key: string, value: string): MetaOperation => ({
  kind: 'put',
  key,
  value: text(value),
})
const remove = (key: string): MetaOperation => ({ kind: 'delete', key })

function revisionOf(outcome: MetaOutcome): number {
  expect(outcome.kind).toBe('done')
  return outcome.kind === 'done' ? outcome.revision : -1
}

export function metaConformance(name: string, open: () => Promise<MetaUnderTest>): void {
  const scenario: Scenario = (title, run) =>
    test(title, { timeout: 20_000 }, async () => {
      const under = await open()
      try {
        await run(under)
      } finally {
        await under.cleanup()
      }
    })

  describe(`${name} is a meta store`, () => {
    writing(scenario)
    deciding(scenario)
    listing(scenario)
    bounding(scenario)
    seeingWhole(scenario)
    watching(scenario)
    leasing(scenario)
    closing(scenario)
    histories(open)
  })
}

function writing(scenario: Scenario): void {
  scenario('what is put is got', async ({ meta }) => {
    expect(await meta.get('a')).toBeUndefined()
    const revision = revisionOf(await meta.write([], [put('a', 'one')]))
    expect(revision).toBeGreaterThan(0)
    expect(await meta.get('a')).toEqual({ key: 'a', value: text('one'), revision })
  })

  scenario('a value may be empty, and any bytes', async ({ meta }) => {
    const value = Uint8Array.from({ length: 512 }, (_, n) => n & 255)
    await meta.write([], [put('empty', ''), { kind: 'put', key: 'bytes', value }])
    expect((await meta.get('empty'))?.value).toEqual(new Uint8Array())
    expect((await meta.get('bytes'))?.value).toEqual(value)
  })

  scenario('the value is copied on the way in and out', async ({ meta }) => {
    const value = Buffer.from('before')
    await meta.write([], [{ kind: 'put', key: 'a', value }])
    value.fill(0)
    const got = await meta.get('a')
    expect(got?.value).toEqual(text('before'))
    got?.value.fill(0)
    expect((await meta.get('a'))?.value).toEqual(text('before'))
  })

  scenario('deleting is idempotent', async ({ meta }) => {
    await meta.write([], [put('a', 'one')])
    await meta.write([], [remove('a')])
    expect(await meta.get('a')).toBeUndefined()
    revisionOf(await meta.write([], [remove('a')]))
  })

  scenario('what was written is there after reopening', async ({ meta, reopen }) => {
    const revision = revisionOf(await meta.write([], [put('a', 'one'), put('b', 'two')]))
    const again = await reopen()
    expect(await again.get('a')).toEqual({ key: 'a', value: text('one'), revision })
    const later = revisionOf(await again.write([], [put('a', 'three')]))
    expect(later).toBeGreaterThan(revision)
  })

  scenario('what no store takes is refused', async ({ meta }) => {
    const refused: MetaOperation[][] = [
      [put('', 'x')],
      [put('k'.repeat(2000), 'x')],
      [{ kind: 'put', key: 'a', value: new Uint8Array(2 * 1024 * 1024) }],
      [put('a', 'x'), remove('a')],
    ]
    for (const operations of refused) {
      await expect(meta.write([], operations)).rejects.toBeInstanceOf(StoreError)
    }
    expect(await meta.list('')).toEqual([])
  })
}

function bounding(scenario: Scenario): void {
  scenario('keys and values are taken up to their bounds', async ({ meta, reopen }) => {
    const key = 'k'.repeat(metaKeyBytesMax)
    const value = new Uint8Array(metaValueBytesMax).fill(7)
    await meta.write([], [{ kind: 'put', key, value }])
    expect(Buffer.compare((await meta.get(key))?.value ?? text(''), value)).toBe(0)
    const again = await reopen()
    expect(Buffer.compare((await again.get(key))?.value ?? text(''), value)).toBe(0)
    for (const refused of [
      { kind: 'put' as const, key, value: new Uint8Array(metaValueBytesMax + 1) },
      put(`${key}k`, ''),
    ]) {
      await expect(again.write([], [refused])).rejects.toMatchObject({ outcome: 'determinate' })
    }
    // Bytes count, not characters.
    await expect(again.get('ä'.repeat(metaKeyBytesMax))).resolves.toBeUndefined()
    expect(await again.list('')).toHaveLength(1)
  })
}

function seeingWhole(scenario: Scenario): void {
  scenario('META-2: nobody sees half of a write', async ({ meta, another }) => {
    const reader = another?.() ?? meta
    let isDone = false
    const ended = (async () => {
      for (let n = 0; n < 60; n += 1)
        await meta.write([], [put('pair/a', `${n}`), put('pair/b', `${n}`)])
    })().finally(() => {
      isDone = true
    })
    while (!isDone) {
      // The writer's turn: a store may answer without leaving this one.
      await setImmediate()
      const [a, b] = await reader.list('pair/')
      expect(a?.value).toEqual(b?.value)
      expect(a?.revision).toBe(b?.revision)
    }
    await ended
  })

  scenario('what is acknowledged here is seen elsewhere at once', async ({ meta, another }) => {
    if (another === undefined) return
    const other = another()
    const abort = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const change of other.watch('n', abort.signal)) {
        if ('value' in change) seen.push(Buffer.from(change.value).toString())
        if (seen.at(-1) === '19') return
      }
    })()
    // A watch of another process begins some time after the call: from its first change on none is missing.
    while (seen.length === 0) {
      await meta.write([], [put('n', 'begin')])
      await setImmediate()
    }
    const numbers = Array.from({ length: 20 }, (_, n) => `${n}`)
    for (const [n, value] of numbers.entries()) {
      const [writer, reader] = n % 2 === 0 ? [meta, other] : [other, meta]
      const revision = revisionOf(await writer.write([], [put('n', value)]))
      expect(await reader.get('n')).toEqual({ key: 'n', value: text(value), revision })
    }
    await following
    abort.abort()
    expect(seen.filter((value) => value !== 'begin')).toEqual(numbers)
  })
}

function deciding(scenario: Scenario): void {
  scenario('META-1: a revision never comes back', async ({ meta, reopen }) => {
    const first = revisionOf(await meta.write([], [put('a', '1')]))
    await meta.write([], [remove('a')])
    const second = revisionOf(await meta.write([], [put('a', '1')]))
    expect(second).toBeGreaterThan(first)
    const third = revisionOf(await (await reopen()).write([], [put('a', '1')]))
    expect(third).toBeGreaterThan(second)
  })

  scenario('a condition holds at its revision only', async ({ meta }) => {
    const absent = [{ key: 'a', revision: 0 }]
    const first = revisionOf(await meta.write(absent, [put('a', '1')]))
    expect(await meta.write(absent, [put('a', '2')])).toEqual({ kind: 'conflict' })
    await meta.write([{ key: 'a', revision: first }], [put('a', '3')])
    expect(await meta.write([{ key: 'a', revision: first }], [put('a', '4')])).toEqual({
      kind: 'conflict',
    })
    expect((await meta.get('a'))?.value).toEqual(text('3'))
    await meta.write([], [remove('a')])
    revisionOf(await meta.write(absent, [put('a', '5')]))
  })

  scenario('one failing condition stops every operation', async ({ meta }) => {
    await meta.write([], [put('a', '1'), put('b', '1')])
    const conditions = [
      { key: 'c', revision: 0 },
      { key: 'a', revision: 0 },
    ]
    const outcome = await meta.write(conditions, [put('c', 'x'), put('d', 'x'), remove('b')])
    expect(outcome).toEqual({ kind: 'conflict' })
    expect((await meta.list('')).map(({ key }) => key)).toEqual(['a', 'b'])
  })

  scenario('of many who ask for the same one gets it', async ({ meta }) => {
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        meta.write([{ key: 'leader', revision: 0 }], [put('leader', `node ${n}`)]),
      ),
    )
    expect(outcomes.filter(({ kind }) => kind === 'done')).toHaveLength(1)
    const winner = outcomes.findIndex(({ kind }) => kind === 'done')
    expect((await meta.get('leader'))?.value).toEqual(text(`node ${winner}`))
  })

  scenario('counting with compare and set loses nothing', async ({ meta }) => {
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        for (let done = 0; done < 10; ) {
          const entry = await meta.get('count')
          const next = Number(Buffer.from(entry?.value ?? text('0')).toString()) + 1
          const condition = { key: 'count', revision: entry?.revision ?? 0 }
          const outcome = await meta.write([condition], [put('count', String(next))])
          if (outcome.kind === 'done') done += 1
        }
      }),
    )
    expect((await meta.get('count'))?.value).toEqual(text('50'))
  })
}

function listing(scenario: Scenario): void {
  scenario('a prefix lists its keys in byte order', async ({ meta }) => {
    // U+FF5E sorts before U+1F600 by bytes, after it by UTF-16 units.
    const keys = ['a', 'a/', 'a/2', 'a/10', 'a/ä', 'a/\u{1f600}', 'a/\uff5e', 'a0', 'b', 'a/\u0000']
    await meta.write(
      [],
      keys.map((key) => put(key, key)),
    )
    const byteOrder = (left: string, right: string) =>
      Buffer.compare(Buffer.from(left), Buffer.from(right))
    for (const prefix of ['', 'a', 'a/', 'a/1', 'a/\u{1f600}', 'c', '\uffff']) {
      const wanted = keys.filter((key) => key.startsWith(prefix)).sort(byteOrder)
      const entries = await meta.list(prefix)
      expect(entries.map(({ key }) => key)).toEqual(wanted)
      expect(entries.map(({ value }) => Buffer.from(value).toString())).toEqual(wanted)
    }
  })
}

function watching(scenario: Scenario): void {
  scenario(
    'a watch sees the changes of its prefix, in order, from the call on',
    async ({ meta }) => {
      await meta.write([], [put('w/0', 'before')])
      const abort = new AbortController()
      const changes = meta.watch('w/', abort.signal)
      await meta.write([], [put('w/1', '1'), put('x/1', '1')])
      await Promise.all([
        meta.write([], [put('w/2', '2')]),
        meta.write([], [remove('w/1')]),
        meta.write([{ key: 'w/0', revision: 0 }], [put('w/0', 'conflict')]),
        meta.write([], [put('w/3', '3'), remove('w/0')]),
      ])
      const seen: string[] = []
      let revision = 0
      for await (const change of changes) {
        if ('value' in change) {
          expect(change.revision).toBeGreaterThan(revision)
          revision = change.revision
        }
        seen.push('deleted' in change ? `-${change.key}` : change.key)
        if (seen.length === 5) abort.abort()
      }
      expect(seen).toEqual(['w/1', 'w/2', '-w/1', 'w/3', '-w/0'])
    },
  )

  scenario('a slow watcher misses nothing, and holds nobody up', async ({ meta }) => {
    const abort = new AbortController()
    const [slow, quick] = [meta.watch('s/', abort.signal), meta.watch('s/', abort.signal)]
    const names = Array.from({ length: 300 }, (_, n) => `s/${String(n).padStart(3, '0')}`)
    for (const name of names) await meta.write([], [put(name, '')])
    for (const changes of [quick, slow]) {
      const seen: string[] = []
      for await (const change of changes) {
        seen.push(change.key)
        if (seen.length === names.length) break
      }
      expect(seen).toEqual(names)
    }
    abort.abort()
  })

  scenario('an aborted watch ends, also while it waits', async ({ meta }) => {
    const abort = new AbortController()
    const iterator = meta.watch('', abort.signal)[Symbol.asyncIterator]()
    const next = iterator.next()
    abort.abort()
    expect((await next).done).toBe(true)
    for await (const change of meta.watch('', abort.signal)) expect(change).toBeUndefined()
  })
}

function leasing(scenario: Scenario): void {
  const putWith = (key: string, lease: string): MetaOperation => ({
    kind: 'put',
    key,
    value: text('held'),
    lease,
  })

  scenario(
    'what is put with a lease goes when it is revoked, and watchers see it',
    async ({ meta }) => {
      const lease = await meta.grantLease(10_000)
      await meta.write(
        [],
        [putWith('l/1', lease.id), putWith('l/2', lease.id), put('l/3', 'stays')],
      )
      await meta.write([], [putWith('l/4', lease.id), put('l/1', 'stays too')])
      expect(await lease.keepAlive()).toBe(true)
      const abort = new AbortController()
      const changes = meta.watch('l/', abort.signal)
      await lease.revoke()
      expect((await meta.list('l/')).map(({ key }) => key)).toEqual(['l/1', 'l/3'])
      const gone: string[] = []
      for await (const change of changes) {
        gone.push('deleted' in change ? change.key : 'changed')
        if (gone.length === 2) abort.abort()
      }
      expect(gone.sort()).toEqual(['l/2', 'l/4'])
      expect(await lease.keepAlive()).toBe(false)
      await lease.revoke()
    },
  )

  scenario('nothing is put with a lease that has ended', async ({ meta }) => {
    const lease = await meta.grantLease(10_000)
    await lease.revoke()
    const late = meta.write([], [put('a', '1'), putWith('l/1', lease.id)])
    await expect(late).rejects.toMatchObject({ outcome: 'determinate' })
    expect(await meta.list('')).toEqual([])
  })

  scenario('a lease ends when it is not kept alive', async ({ meta, leasesEnd }) => {
    if (leasesEnd !== true) return
    const [kept, forgotten] = [await meta.grantLease(1000), await meta.grantLease(1000)]
    await meta.write([], [putWith('kept', kept.id), putWith('forgotten', forgotten.id)])
    await expect
      .poll(
        async () => {
          expect(await kept.keepAlive()).toBe(true)
          return (await meta.list('')).map(({ key }) => key)
        },
        { timeout: 8000, interval: 200 },
      )
      .toEqual(['kept'])
    expect(await forgotten.keepAlive()).toBe(false)
    await kept.revoke()
  })
}

function closing(scenario: Scenario): void {
  scenario('closed means closed', async ({ meta }) => {
    const never = new AbortController()
    const watched = meta.watch('', never.signal)[Symbol.asyncIterator]().next()
    await meta.close()
    expect((await watched).done).toBe(true)
    await expect(meta.get('a')).rejects.toBeInstanceOf(StoreError)
    await expect(meta.list('')).rejects.toBeInstanceOf(StoreError)
    await expect(meta.write([], [put('a', '1')])).rejects.toBeInstanceOf(StoreError)
  })
}

function histories(open: () => Promise<MetaUnderTest>): void {
  const key = fc.constantFrom('a', 'b', 'a/b', 'c')
  const write = fc.record({
    /** How many changes ago the revision was seen that is asked for; null: no condition. */
    conditions: fc.uniqueArray(fc.record({ key, isStale: fc.boolean() }), {
      selector: (condition) => condition.key,
      maxLength: 2,
    }),
    operations: fc.uniqueArray(fc.record({ key, value: fc.option(fc.string()) }), {
      selector: (operation) => operation.key,
      maxLength: 3,
    }),
  })
  const step = fc.oneof(
    { weight: 8, arbitrary: write },
    { weight: 1, arbitrary: fc.constant(null) },
  )

  test('any history reads as its model says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const under = await open()
        try {
          let meta = under.meta
          const model = new Map<string, { value: string; revision: number }>()
          for (const wanted of steps) {
            if (wanted === null) {
              meta = await under.reopen()
              continue
            }
            const conditions = wanted.conditions.map((condition) => ({
              key: condition.key,
              revision:
                (model.get(condition.key)?.revision ?? 0) + (condition.isStale ? 1_000_000 : 0),
            }))
            const operations = wanted.operations.map((operation) =>
              operation.value === null
                ? remove(operation.key)
                : put(operation.key, operation.value),
            )
            const outcome = await meta.write(conditions, operations)
            const isStale = wanted.conditions.some((condition) => condition.isStale)
            expect(outcome.kind).toBe(isStale ? 'conflict' : 'done')
            if (outcome.kind === 'conflict') continue
            for (const operation of wanted.operations) {
              const { value } = operation
              if (value === null) model.delete(operation.key)
              else model.set(operation.key, { value, revision: outcome.revision })
            }
          }
          const expected = [...model].map(([name, { value, revision }]) => ({
            key: name,
            value: text(value),
            revision,
          }))
          expected.sort((left, right) => (left.key < right.key ? -1 : 1))
          expect(await meta.list('')).toEqual(expected)
        } finally {
          await under.cleanup()
        }
      }),
      { numRuns: 20 },
    )
  })
}
