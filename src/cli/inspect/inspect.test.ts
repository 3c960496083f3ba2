/** The stored files (test/formats) in words; and with any bit of them turned over. */
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Timestamp } from '#base/timestamp.js'
import { putBackup } from '#cli/backup/backup-manifest.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { describeRuns, describeTimestamp } from './describe.js'
import { describeRecord } from './describe-log-record.js'
import { inspectFile } from './inspect.js'
import { kindOfFile } from './kind-of-file.js'
import type { InspectOptions } from './options.js'
import { xxh64 } from './xxh64.js'

const snapshotFacts = {
  objects: 'directory:///nowhere',
  timestamp: 4096 as Timestamp,
  tables: [],
  sequences: [],
}

const root = fileURLToPath(new URL('../../../test/formats/fixtures', import.meta.url))
const options: InspectOptions = { limit: 50, rows: 10, position: undefined, key: '' }

async function inspected(path: string, more: Partial<InspectOptions> = {}) {
  const lines: string[] = []
  const damages = await inspectFile(path, await kindOfFile(path), { ...options, ...more }, (line) =>
    lines.push(line),
  )
  return { words: lines.join('\n'), damages }
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
}

/** LMDB makes a lock file beside its own. */
async function copyOf(set: string): Promise<{ path: string; remove(): Promise<void> }> {
  const scratch = await scratchDirectory()
  await cp(join(root, set), scratch.path, { recursive: true })
  return scratch
}

test.each([
  [
    'log-2/log%2F0/0000000000000000.log',
    [
      'log file, format 1, from position 0',
      '@32  frame: positions 0–2, term 1, durable before 0, 640 bytes, CRC-32 right',
      '0: rows: 3 rows of table 70000 (shard 1, incarnation 2), row ids from 11',
      '1: batch: 3 rows, 368 bytes: a1 bool, a2 int16, a3 int32',
      'a9 bytes',
      'aßc',
      '2: commit at 2054-11-03T19:53:47.776Z+0 (4503599627370496)',
      'table 70000 shard 1 (incarnation 2), truncated, 3 deletes: rows 1–2, 9007199254740991',
      'DDL: {"version":1',
      '3: abort of stage 8589934594',
      'end: next position 4; 0 bytes after the last whole frame',
    ],
  ],
  ['log-1/log%2F0/state', ['last term 1', 'closed in order at position 4']],
  ['log-2/log%2F0/state', ['last term 1', 'closed in order at position 4']],
  [
    'segment-1/tables/70000/2/segments/9/data-af017ce5.arrow',
    [
      'CRC-32 af017ce5',
      'segmentId 9, tableId 70000, table public.kept',
      '3 rows',
      'a4 "column 4" int8, int64',
      '-9223372036854775808 to 9223372036854775807',
      'a8 "column 8" vector (typmod 2), vector(2)',
      'a9 "column 9" text, bytes',
      '00010203-0405-0607-0809-0a0b0c0d0e0f',
      '[3,4]',
      '日本',
      'NULL',
    ],
  ],
  ['segment-1/tables/70000/2/segments/9/deletes-2318165a.arrow', ['1 row', '_deleted']],
  [
    'segment-1/tables/70000/2/segments/9/index-70002-16386031.hnsw',
    [
      'HNSW index "ELNSHNSW", format 1',
      '2 of them in the graph',
      '2 dimensions, l2',
      'm 4',
      'all checksums are right',
    ],
  ],
  [
    'hnsw-2/grown.hnsw',
    [
      'HNSW index "ELNSHNSW", format 2',
      '700 of them in the graph',
      '681 rows of the graph have the vector of a row before',
      'equal rows',
      'all checksums are right',
    ],
  ],
  [
    'segment-1/tables/70000/2/segments/9/manifest-dcb16260.json',
    [
      'segment 9 of table 70000 (incarnation 2), shard 0, format 1',
      'data-af017ce5.arrow',
      'index    70002 on column 8 (l2)',
      'column   4: 0 NULL, -9223372036854775808 to 9223372036854775807',
    ],
  ],
  [
    'segment-3/tables/70000/2/segments/9/manifest-7db05de1.json',
    [
      'deletes up to 2054-11-03T19:53:47.776Z+2 (4503599627370498) are all here, or their rows are not',
    ],
  ],
  [
    'backup-1/backup-20261121T000000.000Z-fbfd3a93.json',
    [
      'format 1, taken at 2026-11-21T00:00:00.000Z',
      'everything up to 2026-03-10T13:28:20.000Z+0 (800000000000000)',
      'postgres: CREATE TABLE t (a int PRIMARY KEY)',
      'public.t (16400), incarnation 0, 2 shards: 0 rows in 0 segments',
      'index t_e (16410)',
      'shard 1 of table 16400: 0 segments, next row id 7',
      'public.s: last value 9007199254740993',
      'app: password verifier, SCRAM-SHA-256, 4096 iterations',
      'not beside it',
    ],
  ],
  [
    'backup-1/meta-copy/000000000001/000000000000-base-b7dc1e38.json',
    ['object 0 of term 1: all keys, saved at 2026-11-21T18:42:23.358Z', 'setting/gone  (1 byte)'],
  ],
  [
    'backup-1/meta-copy/000000000001/000000000001-changes-ef9b74e2.json',
    [
      'object 1 of term 1: changes after object 0',
      'counter/segment-ids  (2 bytes)\n    next number: 65',
      'setting/gone  (deleted)',
    ],
  ],
  ['snapshot-2/small.snapshot', ['format 2, CRC-32 right', '4 files and folders']],
  ['snapshot-1/small.snapshot', ['format 1, which has no checksum']],
] as const)('%s in words', async (path, wanted) => {
  const { words, damages } = await inspected(join(root, path))
  expect(damages).toEqual([])
  for (const each of wanted) expect(words).toContain(each)
})

test.each(['meta-1', 'meta-2'])('%s in words', async (set) => {
  const copy = await copyOf(set)
  const { words, damages } = await inspected(join(copy.path, 'data.mdb'))
  expect(damages).toEqual([])
  expect(words).toContain('term of the coordinator: 7')
  expect(words).toContain('nodes/leased  (revision 1, leased, 1 byte)')
  expect(words).toMatch(/setting\/bytes .*256 bytes\)\n {4}0x000102/)
  const one = await inspected(join(copy.path, 'data.mdb'), { key: 'setting/ä' })
  expect(one.words).toContain('setting/ä')
  expect(one.words).not.toContain('nodes/leased')
  await copy.remove()
})

test.each([
  ['commit-for-all', 'decides log-0/3/ä for log-1 log-2'],
  ['prepare', 'prepare log-0/3/ä at 2054-11-03T19:53:47.776Z+6'],
  ['prepare', '1 absent key, 1 reference'],
  ['prepare', 'table 70000 shard 1 (incarnation 2), 2 deletes: rows 5–6'],
  ['finish-committed', 'finish log-0/3/ä: committed at 2054-11-03T19:53:47.776Z+7'],
  ['finish-aborted', 'finish log-0/3/ä: aborted'],
])('a record of a transaction over several log channels: %s', async (name, words) => {
  const payload = await readFile(join(root, 'log-record-2', `${name}.bin`))
  expect(describeRecord(payload, undefined, 0).lines.join('\n')).toContain(words)
})

test('one record of the log', async () => {
  const path = join(root, 'log-2/log%2F0/0000000000000000.log')
  const { words } = await inspected(path, { position: 3 })
  expect(words).toContain('3: abort')
  expect(words).not.toContain('0: rows')
})

/** Sets whose files have checksums; a turned bit of the last frame of a log looks like a torn write. */
const checked = ['backup-1', 'log-2', 'segment-1', 'snapshot-2']

test('no bit can be turned over without being noticed', async () => {
  const scratch = await scratchDirectory()
  for (const set of checked) {
    for (const source of await filesBelow(join(root, set))) {
      const path = join(scratch.path, relative(root, source))
      await mkdir(dirname(path), { recursive: true })
      const bytes = await readFile(source)
      await fc.assert(
        fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (at, bit) => {
          const damaged = Buffer.from(bytes)
          damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << bit), at)
          await writeFile(path, damaged)
          const { words, damages } = await inspected(path)
          const isNoticed = damages.length > 0 || words.includes('the last write was torn')
          expect(isNoticed, `${source} at ${at}`).toBe(true)
        }),
        { numRuns: 40 },
      )
    }
  }
  await scratch.remove()
})

test('no cut is taken for a whole file', async () => {
  const scratch = await scratchDirectory()
  for (const set of checked) {
    for (const source of await filesBelow(join(root, set))) {
      const path = join(scratch.path, relative(root, source))
      await mkdir(dirname(path), { recursive: true })
      const bytes = await readFile(source)
      await fc.assert(
        // Two bytes: the last of a file of text is the end of its line.
        fc.asyncProperty(fc.nat(bytes.length - 2), async (size) => {
          await writeFile(path, bytes.subarray(0, size))
          const { words, damages } = await inspected(path)
          // A log that ends after a frame is a whole log.
          const isWhole = path.endsWith('.log') && words.includes('; 0 bytes after')
          const isNoticed =
            isWhole || damages.length > 0 || words.includes('the last write was torn')
          expect(isNoticed, `${source} cut at ${size}`).toBe(true)
        }),
        { numRuns: 40 },
      )
    }
  }
  await scratch.remove()
})

test('damage in the middle of a log is said with its place, and what follows is printed', async () => {
  const scratch = await scratchDirectory()
  const bytes = await readFile(join(root, 'log-2/log%2F0/0000000000000000.log'))
  const path = join(scratch.path, '0000000000000000.log')
  // In the batch of the first frame, which ends at 672.
  bytes.writeUInt8(bytes.readUInt8(300) ^ 1, 300)
  await writeFile(path, bytes)
  const { words, damages } = await inspected(path)
  expect(damages).toEqual([
    'offset 32, position 0: the CRC-32 of the records is wrong; the next whole frame is at offset 672, position 3',
  ])
  expect(words).toContain('3: abort of stage')
  await scratch.remove()
})

test('an index says which section is damaged', async () => {
  const scratch = await scratchDirectory()
  const name = 'index-70002-16386031.hnsw'
  const bytes = await readFile(join(root, 'segment-1/tables/70000/2/segments/9', name))
  const codesAt = Number(bytes.readBigUInt64LE(112 + 24))
  bytes.writeUInt8(bytes.readUInt8(codesAt) ^ 1, codesAt)
  await writeFile(join(scratch.path, name), bytes)
  const { damages } = await inspected(join(scratch.path, name))
  expect(damages.join('\n')).toContain(`offset ${codesAt}: section "codes" has XXH64`)
  await scratch.remove()
})

test('a manifest says when an object is another than it names', async () => {
  const copy = await copyOf('segment-1')
  const folder = join(copy.path, 'tables/70000/2/segments/9')
  await writeFile(join(folder, 'deletes-2318165a.arrow'), 'other')
  const { damages } = await inspected(join(folder, 'manifest-dcb16260.json'))
  expect(damages).toHaveLength(1)
  expect(damages[0]).toMatch(
    /deletes-2318165a.arrow has 5 bytes and CRC-32 .* the manifest says 994/,
  )
  expect((await stat(folder)).isDirectory()).toBe(true)
  await copy.remove()
})

test('a backup says which of its objects is missing or another than it names', async () => {
  const scratch = await scratchDirectory()
  const name = 'manifest-dcb16260.json'
  const segments = 'tables/70000/2/segments/9'
  const manifest = JSON.parse(
    await readFile(join(root, 'segment-1', segments, name), 'utf8'),
  ) as SegmentManifest
  const place = join(scratch.path, 'objects', segments)
  await cp(join(root, 'segment-1', segments), place, { recursive: true })
  const store = await openDirectoryObjects(scratch.path)
  const shard = { tableId: 70_000, shard: 0, nextRowId: 16, segments: [manifest] }
  const facts = { ...snapshotFacts, ddl: [], shards: [shard], passwords: [] }
  const backup = join(scratch.path, await putBackup(store, facts, new Date(0)))
  await store.close()

  const whole = await inspected(backup)
  expect(whole.damages).toEqual([])
  expect(whole.words).toContain('segment 9 of table 70000 (incarnation 2), shard 0')
  expect(whole.words).toContain('3 objects, 37,804 bytes: all are there, all checksums are right')
  await writeFile(join(place, 'deletes-2318165a.arrow'), 'other')
  await rm(join(place, 'index-70002-16386031.hnsw'))
  const { damages } = await inspected(backup)
  expect(damages).toEqual([
    expect.stringMatching(/deletes-2318165a.arrow has 5 bytes and CRC-32 .* the manifest says 994/),
    expect.stringMatching(/index-70002-16386031.hnsw is not there/),
  ])
  await scratch.remove()
})

test('an object of the copy of a meta store says when its name is another’s', async () => {
  const copy = await copyOf('backup-1')
  const folder = join(copy.path, 'meta-copy/000000000001')
  const other = join(folder, '000000000002-changes-ef9b74e2.json')
  await cp(join(folder, '000000000001-changes-ef9b74e2.json'), other)
  const { damages } = await inspected(other)
  expect(damages).toEqual(['000000000001-changes-ef9b74e2.json is its name by its content'])
  const one = await inspected(join(folder, '000000000001-changes-ef9b74e2.json'), {
    key: 'setting/kept',
  })
  expect(one.words).toContain('0x00ff')
  expect(one.words).not.toContain('setting/gone')
  await copy.remove()
})

test('checksums of index files are those of native code', () => {
  // xxhash's own test vectors, seed 0.
  expect(xxh64(new Uint8Array(0))).toBe(0xef46db3751d8e999n)
  expect(xxh64(Buffer.from('a'))).toBe(0xd24ec4f1a98c6e5bn)
  expect(xxh64(Buffer.from('abc'))).toBe(0x44bc2cf5ad770999n)
  expect(
    xxh64(Buffer.from('Call me Ishmael. Some years ago--never mind how long precisely-')),
  ).toBe(0x02a2e85470d6fd96n)
})

test('small words', () => {
  expect(describeRuns([1, 2, 3, 5, 9, 10])).toBe('1–3, 5, 9–10')
  expect(describeRuns([])).toBe('')
  expect(describeTimestamp(Number.NaN)).toBe('no time (NaN)')
  expect(describeTimestamp(Number.POSITIVE_INFINITY)).toBe('never')
})
