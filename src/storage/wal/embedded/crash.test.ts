/** SIGKILL and full disks, in processes of their own. */
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { outputOf, startChild } from '#storage/child.conformance.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import { patterned } from '#storage/wal/pattern.conformance.js'
import { readAllRecords } from '#storage/wal/wal.conformance.js'
import type { LogRecord } from '#storage/wal/wal.js'

const roundCount = 30
/** On a busy machine there are fewer rounds. */
const roundsMsMax = 15_000
const appender = new URL('./append-until-killed.conformance.ts', import.meta.url)
const filler = new URL('./append-to-full-disk.conformance.ts', import.meta.url)

interface Head {
  readonly round: number
  readonly loop: number
  readonly sequence: number
  readonly ordinal: number
  readonly recordCount: number
  readonly size: number
}

/** Checks the record's bytes. */
function decode({ payload }: LogRecord): Head {
  const headEnd = payload.indexOf(10)
  const head: Head = JSON.parse(Buffer.from(payload.subarray(0, headEnd)).toString('utf8'))
  const body = patterned(head.size, head.sequence * 7 + head.ordinal)
  expect(Buffer.compare(payload.subarray(headEnd + 1), body)).toBe(0)
  return head
}

/** `loop sequence` → position of every whole append; fails on one that is in part there, or twice. */
function wholeAppends(records: readonly LogRecord[], round: number): Map<string, number> {
  const appends = new Map<string, number>()
  for (let at = 0; at < records.length; ) {
    const first = records[at]
    if (first === undefined) break
    const { loop, sequence, recordCount } = decode(first)
    for (let ordinal = 0; ordinal < recordCount; ordinal += 1, at += 1) {
      const record = records[at]
      if (record === undefined) throw new Error(`WAL-2: half of append ${loop} ${sequence}`)
      expect(decode(record)).toMatchObject({ round, loop, sequence, ordinal })
      expect(record.position).toBe(first.position + ordinal)
    }
    expect(appends.has(`${loop} ${sequence}`)).toBe(false)
    appends.set(`${loop} ${sequence}`, first.position)
  }
  return appends
}

test('WAL-1, WAL-2: what is acknowledged survives SIGKILL, once and whole', async () => {
  const scratch = await scratchDirectory()
  const start = (ofRound: number) => startChild(appender, [scratch.path, String(ofRound)])
  let acknowledgedCount = 0
  const deadlineMs = systemRuntime.monotonicMs() + roundsMsMax
  let next = start(0)
  let round = 0
  for (; round < roundCount && systemRuntime.monotonicMs() < deadlineMs; round += 1) {
    const child = next
    const output = outputOf(child)
    child.stdin.write('go\n')
    // The next process starts up meanwhile.
    next = start(round + 1)
    await once(child.stdout, 'data')
    await systemRuntime.sleep(Math.random() * 120)
    child.kill('SIGKILL')
    const lines = (await output).split('\n')
    lines.pop()

    const wal = await openEmbeddedWal(scratch.path, systemRuntime)
    const appends = wholeAppends(await readAllRecords(wal, 0, 'c'), round)
    for (const line of lines) {
      const [loop, sequence, position] = line.split(' ')
      expect(appends.get(`${loop} ${sequence}`), `round ${round}: ${line}`).toBe(Number(position))
    }
    acknowledgedCount += lines.length
    await wal.truncate('c', await wal.endPosition('c'))
    await wal.close()
  }
  next.kill('SIGKILL')
  await scratch.remove()
  expect(acknowledgedCount).toBeGreaterThanOrEqual(round)
})

test('a write that does not fit is taken back, and the log goes on', async () => {
  const scratch = await scratchDirectory()
  const child = startChild(filler, [join(scratch.path, 'log')], 1024)
  child.stdin.end()
  expect((await outputOf(child)).trim().split('\n')).toEqual([
    'small stored',
    'large determinate could not write to log "c": File too large',
    'small stored',
    'two of one group determinate determinate',
    'small stored',
  ])
  const wal = await openEmbeddedWal(join(scratch.path, 'log'), systemRuntime)
  const records = await readAllRecords(wal, 0, 'c')
  expect(records.map(({ payload }) => payload.length)).toEqual([1000, 1000, 1000])
  await wal.close()
  await scratch.remove()
})
