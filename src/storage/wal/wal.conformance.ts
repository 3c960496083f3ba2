/** What every log must do; run by each adapter's tests. */
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { patterned } from '#storage/wal/pattern.conformance.js'
import type { LogPosition, LogRecord, Wal, WalWriter } from '#storage/wal/wal.js'

export interface WalUnderTest {
  readonly wal: Wal
  /** Closes the log and opens it again with what is durable. */
  reopen(): Promise<Wal>
  /** The same log as another process sees it, at the same time; absent where there is one process only. */
  readonly another?: () => Wal
  cleanup(): Promise<void>
}

const channel = 'log/0'
const bytes = (...values: number[]) => Uint8Array.from(values)

export async function readAllRecords(wal: Wal, from = 0, logChannel = channel) {
  const records: LogRecord[] = []
  for await (const batch of wal.read(logChannel, from)) {
    expect(batch.length).toBeGreaterThan(0)
    for (const record of batch) records.push(record)
  }
  return records
}

const positionsOf = (records: readonly LogRecord[]) => records.map(({ position }) => position)
const payloadsOf = (records: readonly LogRecord[]) => records.map(({ payload }) => [...payload])

async function expectDeterminate(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(StoreError)
  expect(error).toMatchObject({ outcome: 'determinate' })
}

type Scenario = (title: string, run: (under: WalUnderTest) => Promise<void>) => void

export function walConformance(name: string, open: () => Promise<WalUnderTest>): void {
  const scenario: Scenario = (title, run) =>
    test(title, async () => {
      const under = await open()
      try {
        await run(under)
      } finally {
        await under.cleanup()
      }
    })

  describe(`${name} is a log`, () => {
    appending(scenario)
    reading(scenario)
    fencing(scenario)
    fencingElsewhere(scenario)
    readingBeside(scenario)
    surviving(scenario)
    truncating(scenario)
    separating(scenario)
    histories(open)
  })
}

function appending(scenario: Scenario): void {
  scenario('an empty log ends at 0 and holds nothing', async ({ wal }) => {
    expect(await wal.endPosition(channel)).toBe(0)
    expect(await readAllRecords(wal)).toEqual([])
  })

  scenario('what is appended is read, in order, byte for byte', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const payloads = [bytes(), bytes(1), patterned(7, 1), patterned(100_000, 2), bytes(2, 3)]
    const positions = await writer.append(payloads)
    expect(positions).toHaveLength(payloads.length)
    expect([...positions].sort((a, b) => a - b)).toEqual(positions)
    expect(new Set(positions).size).toBe(positions.length)
    const records = await readAllRecords(wal)
    expect(positionsOf(records)).toEqual(positions)
    expect(payloadsOf(records)).toEqual(payloads.map((payload) => [...payload]))
    expect(await wal.endPosition(channel)).toBeGreaterThan(positions.at(-1) ?? Infinity)
  })

  scenario('the payload is copied before append resolves', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const payload = Buffer.from(patterned(50_000, 3))
    await writer.append([payload])
    payload.fill(0)
    const [record] = await readAllRecords(wal)
    expect(Buffer.compare(record?.payload ?? bytes(), patterned(50_000, 3))).toBe(0)
  })

  scenario('appending nothing is nothing', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    // Opening a writer may take a position.
    const end = await wal.endPosition(channel)
    expect(await writer.append([])).toEqual([])
    expect(await wal.endPosition(channel)).toBe(end)
    expect(await readAllRecords(wal)).toEqual([])
  })
}

function reading(scenario: Scenario): void {
  scenario('large records come in several batches', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    for (let round = 0; round < 5; round += 1) {
      await writer.append([patterned(5_000_000, round), bytes(round)])
    }
    let batchCount = 0
    for await (const batch of wal.read(channel, 0)) {
      batchCount += 1
      const size = batch.reduce((sum, { payload }) => sum + payload.length, 0)
      expect(size).toBeLessThan(20_000_000)
    }
    expect(batchCount).toBeGreaterThan(1)
    const records = await readAllRecords(wal)
    expect(records).toHaveLength(10)
    const expected = patterned(5_000_000, 4)
    expect(Buffer.compare(records[8]?.payload ?? bytes(), expected)).toBe(0)
  })

  scenario('one append of very many records', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const positions = await writer.append(Array.from({ length: 50_000 }, (_, n) => bytes(n & 255)))
    const records = await readAllRecords(wal)
    expect(positionsOf(records)).toEqual(positions)
    expect(records.every(({ payload }, n) => payload[0] === (n & 255))).toBe(true)
  })

  scenario('concurrent appends get positions in call order, each in one piece', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const appends = Array.from({ length: 200 }, (_, n) =>
      writer.append(Array.from({ length: 1 + (n % 3) }, (__, k) => bytes(n, k))),
    )
    const positions = (await Promise.all(appends)).flat()
    const records = await readAllRecords(wal)
    expect(positionsOf(records)).toEqual(positions)
    const expected = appends.flatMap((_, n) =>
      Array.from({ length: 1 + (n % 3) }, (__, k) => [n, k]),
    )
    expect(payloadsOf(records)).toEqual(expected)
  })

  scenario('reading begins anywhere', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const positions: LogPosition[] = []
    for (let n = 0; n < 20; n += 1) {
      positions.push(...(await writer.append([bytes(n), patterned(n * 1000, n), bytes(n)])))
    }
    const end = await wal.endPosition(channel)
    for (const from of [0, 1, ...positions.slice(7, 13), end - 1, end, end + 10]) {
      const wanted = positions.filter((position) => position >= from)
      expect(positionsOf(await readAllRecords(wal, from))).toEqual(wanted)
    }
  })

  scenario('a read ends where the log ended when it began', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    for (let n = 0; n < 3; n += 1) await writer.append([patterned(6_000_000, n)])
    let count = 0
    for await (const batch of wal.read(channel, 0)) {
      count += batch.length
      await writer.append([bytes(9)])
    }
    expect(count).toBe(3)
  })
}

function fencing(scenario: Scenario): void {
  scenario('WAL-3: a new writer fences the old one', async ({ wal, reopen }) => {
    const old = await wal.openWriter(channel)
    await old.append([bytes(1)])
    const current = await wal.openWriter(channel)
    expect(current.term).toBeGreaterThan(old.term)
    await expectDeterminate(old.append([bytes(2)]))
    await current.append([bytes(3)])
    await expectDeterminate(old.append([bytes(4)]))
    expect(payloadsOf(await readAllRecords(wal))).toEqual([[1], [3]])
    const again = await (await reopen()).openWriter(channel)
    expect(again.term).toBeGreaterThan(current.term)
  })

  scenario(
    'WAL-3: appends under way while a writer is opened happen before it or fail',
    async ({ wal }) => {
      const old = await wal.openWriter(channel)
      const attempts = Array.from({ length: 20 }, (_, n) => old.append([bytes(n)]))
      const current = await wal.openWriter(channel)
      const seen = (await readAllRecords(wal)).length
      const settled = await Promise.allSettled(attempts)
      await current.append([bytes(99)])
      const acknowledged = settled.filter(({ status }) => status === 'fulfilled').length
      expect(acknowledged).toBe(seen)
      expect((await readAllRecords(wal)).length).toBe(seen + 1)
    },
  )
}

function fencingElsewhere(scenario: Scenario): void {
  scenario('WAL-3: of many writers opened at once one may append', async ({ wal, another }) => {
    const handles = another === undefined ? [wal] : [wal, another(), another()]
    const writers = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        (handles[n % handles.length] ?? wal).openWriter(channel),
      ),
    )
    expect(new Set(writers.map(({ term }) => term)).size).toBe(writers.length)
    const newest = Math.max(...writers.map(({ term }) => term))
    const attempts = await Promise.allSettled(
      writers.map((writer) => writer.append([bytes(writer.term)])),
    )
    const succeeded = writers.filter((_, n) => attempts[n]?.status === 'fulfilled')
    expect(succeeded.map(({ term }) => term)).toEqual([newest])
    expect(payloadsOf(await readAllRecords(wal))).toEqual([[newest]])
  })

  scenario('a term is never given twice, also when nothing was appended', async (under) => {
    const terms = [(await under.wal.openWriter(channel)).term]
    for (let round = 0; round < 3; round += 1) {
      const reopened = await under.reopen()
      terms.push((await reopened.openWriter(channel)).term)
      terms.push((await reopened.openWriter(channel)).term)
    }
    expect(terms).toEqual([...new Set(terms)].sort((a, b) => a - b))
  })

  scenario('a writer elsewhere fences, and is read from here', async ({ wal, another }) => {
    if (another === undefined) return
    const old = await wal.openWriter(channel)
    await old.append([bytes(1)])
    const elsewhere = another()
    const current = await elsewhere.openWriter(channel)
    await expectDeterminate(old.append([bytes(2)]))
    await current.append([bytes(3)])
    expect(payloadsOf(await readAllRecords(wal))).toEqual([[1], [3]])
    expect(await wal.endPosition(channel)).toBe(await elsewhere.endPosition(channel))
  })
}

function readingBeside(scenario: Scenario): void {
  scenario(
    'a reader beside a writer sees a growing prefix, whole appends, and nothing that is lost later',
    async ({ wal, reopen }) => {
      const writer = await wal.openWriter(channel)
      let isDone = false
      let newest = -1
      const writing = (async () => {
        for (let n = 0; n < 60; n += 1) {
          const positions = await writer.append([bytes(n, 0), patterned(20_000, n), bytes(n, 1)])
          newest = positions.at(-1) ?? newest
        }
      })()
      const ended = writing.finally(() => {
        isDone = true
      })
      let seen: readonly LogPosition[] = []
      while (!isDone) {
        // The writer's turn: a log may answer without leaving this one.
        await setImmediate()
        const acknowledged = newest
        expect(await wal.endPosition(channel)).toBeGreaterThan(acknowledged)
        const positions = positionsOf(await readAllRecords(wal))
        expect(positions.length % 3).toBe(0)
        expect(positions.slice(0, seen.length)).toEqual(seen)
        expect(positions.at(-1) ?? -1).toBeGreaterThanOrEqual(acknowledged)
        seen = positions
      }
      await ended
      const after = positionsOf(await readAllRecords(await reopen()))
      expect(after.slice(0, seen.length)).toEqual(seen)
      expect(after).toHaveLength(180)
    },
  )

  scenario('truncating under a reader takes nothing from it that is kept', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const positions: LogPosition[] = []
    for (let n = 0; n < 6; n += 1)
      positions.push(...(await writer.append([patterned(3_000_000, n)])))
    const before = positions[4] ?? 0
    const read: LogPosition[] = []
    for await (const batch of wal.read(channel, 0)) {
      if (read.length === 0) await wal.truncate(channel, before)
      read.push(...positionsOf(batch))
    }
    expect(read.filter((position) => position >= before)).toEqual(positions.slice(4))
    expect(positionsOf(await readAllRecords(wal))).toEqual(positions.slice(4))
  })
}

function surviving(scenario: Scenario): void {
  scenario('WAL-1: everything acknowledged is there after reopening', async ({ wal, reopen }) => {
    const writer = await wal.openWriter(channel)
    const positions: LogPosition[] = []
    for (let n = 0; n < 10; n += 1) positions.push(...(await writer.append([bytes(n), bytes()])))
    const end = await wal.endPosition(channel)
    const reopened = await reopen()
    expect(positionsOf(await readAllRecords(reopened))).toEqual(positions)
    expect(await reopened.endPosition(channel)).toBe(end)
    const next = await (await reopened.openWriter(channel)).append([bytes(7)])
    expect(next[0]).toBeGreaterThanOrEqual(end)
  })
}

function truncating(scenario: Scenario): void {
  scenario('truncate forgets what is before, for good', async ({ wal, reopen }) => {
    const writer = await wal.openWriter(channel)
    const positions: LogPosition[] = []
    for (let n = 0; n < 30; n += 1) positions.push(...(await writer.append([bytes(n), bytes(n)])))
    const before = positions[21] ?? 0
    await wal.truncate(channel, before)
    await wal.truncate(channel, before)
    await wal.truncate(channel, positions[3] ?? 0)
    expect(positionsOf(await readAllRecords(wal))).toEqual(positions.slice(21))
    const reopened = await reopen()
    expect(positionsOf(await readAllRecords(reopened))).toEqual(positions.slice(21))
  })

  scenario('after truncating everything positions go on', async ({ wal, reopen }) => {
    const writer = await wal.openWriter(channel)
    await writer.append([bytes(1), bytes(2)])
    const end = await wal.endPosition(channel)
    await wal.truncate(channel, end + 1000)
    expect(await readAllRecords(wal)).toEqual([])
    const reopened = await reopen()
    expect(await reopened.endPosition(channel)).toBe(end)
    const next = await (await reopened.openWriter(channel)).append([bytes(3)])
    expect(next[0]).toBeGreaterThanOrEqual(end)
    expect(payloadsOf(await readAllRecords(reopened))).toEqual([[3]])
  })
}

function separating(scenario: Scenario): void {
  scenario('log channels do not know each other', async ({ wal }) => {
    const names = ['a', 'a/b', '..', 'A', 'ä b', '%2F']
    for (const [n, logChannel] of names.entries()) {
      const writer = await wal.openWriter(logChannel)
      await writer.append([bytes(n)])
    }
    for (const [n, logChannel] of names.entries()) {
      expect(payloadsOf(await readAllRecords(wal, 0, logChannel))).toEqual([[n]])
    }
  })

  scenario('closed means closed', async ({ wal }) => {
    const writer = await wal.openWriter(channel)
    const last = writer.append([bytes(1)])
    await writer.close()
    await last
    await expectDeterminate(writer.append([bytes(2)]))
    const other = await wal.openWriter(channel)
    await wal.close()
    await expectDeterminate(other.append([bytes(3)]))
    await expectDeterminate(wal.openWriter(channel))
  })
}

function histories(open: () => Promise<WalUnderTest>): void {
  test('any history reads as its model says', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ append: fc.array(fc.nat(70_000), { maxLength: 5 }) }) },
      { weight: 2, arbitrary: fc.record({ truncate: fc.nat(100) }) },
      { weight: 2, arbitrary: fc.record({ read: fc.nat(100) }) },
      { weight: 1, arbitrary: fc.constant('reopen' as const) },
      { weight: 1, arbitrary: fc.constant('writer' as const) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const under = await open()
        try {
          await follow(under, steps)
        } finally {
          await under.cleanup()
        }
      }),
      { numRuns: 25 },
    )
  })
}

type Step = 'reopen' | 'writer' | { append: number[] } | { truncate: number } | { read: number }

/** Does the steps on the log and on a plain list. Numbers of truncate and read are percents of the log. */
async function follow(under: WalUnderTest, steps: readonly Step[]): Promise<void> {
  let wal = under.wal
  let writer: WalWriter = await wal.openWriter(channel)
  let model: { position: LogPosition; length: number; seed: number }[] = []
  let seed = 0
  for (const step of steps) {
    const end = await wal.endPosition(channel)
    if (step === 'reopen') wal = await under.reopen()
    if (step === 'reopen' || step === 'writer') writer = await wal.openWriter(channel)
    else if ('append' in step) {
      const wanted = step.append.map((length) => {
        seed += 1
        return { length, seed }
      })
      const payloads = wanted.map(({ length, seed: own }) => patterned(length, own))
      const positions = await writer.append(payloads)
      wanted.forEach((entry, n) => {
        const position = positions[n] ?? -1
        expect(position).toBeGreaterThan(model.at(-1)?.position ?? -1)
        model.push({ ...entry, position })
      })
    } else if ('truncate' in step) {
      const before = Math.floor((end * step.truncate) / 100)
      await wal.truncate(channel, before)
      model = model.filter(({ position }) => position >= before)
    } else {
      const from = Math.floor((end * step.read) / 100)
      await expectSame(wal, from, model)
    }
  }
  await expectSame(wal, 0, model)
}

async function expectSame(
  wal: Wal,
  from: LogPosition,
  model: readonly { position: LogPosition; length: number; seed: number }[],
): Promise<void> {
  const wanted = model.filter(({ position }) => position >= from)
  const records = await readAllRecords(wal, from)
  expect(positionsOf(records)).toEqual(wanted.map(({ position }) => position))
  records.forEach(({ payload }, n) => {
    const { length, seed } = wanted[n] ?? { length: -1, seed: -1 }
    expect(Buffer.compare(payload, patterned(length, seed))).toBe(0)
  })
}
