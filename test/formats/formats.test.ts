/**
 * Yesterday's bytes are read today: every stored set (docs/formats/README.md) by the code that reads such files in the
 * server. A set without a reader here fails, and so does a reader whose set is gone: sets are added, never removed.
 */
import { cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { readBackup } from '#cli/backup/backup-manifest.js'
import { readCopy } from '#cli/recover-meta/read-copy.js'
import { decodeBatch } from '#engine/columnar/batch-codec.js'
import { native } from '#engine/index/native.js'
import { checksumOf } from '#engine/segment/checksum.js'
import { loadDeletes, loadSealedData } from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { segmentPrefix } from '#engine/segment/object-names.js'
import { decodeLogRecord, type LogRecordContent } from '#nodes/streaming/log-record.js'
import { decodeTable } from '#nodes/streaming/table-settings.js'
import { decodeBundle, verifyBundle } from '#postgres/snapshot-bundle.js'
import { openEmbeddedMeta } from '#storage/meta/embedded/embedded-meta.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { readChannelState } from '#storage/wal/embedded/channel-state.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import { readAllRecords } from '#storage/wal/wal.conformance.js'
import * as values from './values.js'

const root = fileURLToPath(new URL('./fixtures', import.meta.url))

type Reader = (folder: string) => Promise<void>

/** By folder. The folder is a copy: stores may write in it. */
const readers: Readonly<Record<string, Reader>> = {
  'backup-1': readBackups,
  'batch-1': async (folder) => {
    const bytes = new Uint8Array(await readFile(join(folder, 'every-kind.bin')))
    expect(decodeBatch(bytes)).toEqual(values.batch)
  },
  'hnsw-2': readIndex,
  'log-1': readLog,
  'log-2': readLog,
  'log-record-1': (folder) => readLogRecords(folder, values.logRecords),
  'log-record-2': (folder) => readLogRecords(folder, values.laterLogRecords),
  'meta-1': readMeta,
  'meta-2': readMeta,
  'segment-1': (folder) => readSegment(folder),
  'segment-2': (folder) => readSegment(folder),
  'segment-3': (folder) => readSegment(folder, { deletesUntil: values.deletesUntil }),
  'snapshot-1': (folder) => readSnapshot(folder, 'format 1, which has no checksum'),
  'snapshot-2': (folder) => readSnapshot(folder, 'format 2, CRC-32 right'),
  'table-schema-1': async (folder) => {
    expect(decodeTable(await readFile(join(folder, 'kept.json')))).toEqual(values.schema)
  },
}

test('every stored set has a reader, and every reader its set', async () => {
  expect((await readdir(root)).sort()).toEqual(Object.keys(readers).sort())
})

test.each(Object.entries(readers))(
  '%s is read with the values it was written with',
  async (name, read) => {
    const scratch = await scratchDirectory()
    try {
      await cp(join(root, name), scratch.path, { recursive: true })
      await read(scratch.path)
    } finally {
      await scratch.remove()
    }
  },
)

async function readLogRecords(
  folder: string,
  records: Readonly<Record<string, LogRecordContent>>,
): Promise<void> {
  const names = Object.keys(records)
  expect((await readdir(folder)).sort()).toEqual(names.map((name) => `${name}.bin`).sort())
  for (const [name, record] of Object.entries(records)) {
    const bytes = new Uint8Array(await readFile(join(folder, `${name}.bin`)))
    expect(decodeLogRecord(bytes)).toEqual(record)
  }
}

async function readLog(folder: string): Promise<void> {
  expect(await readChannelState(join(folder, 'log%2F0'))).toEqual(values.channelState)
  const wal = await openEmbeddedWal(folder, systemRuntime)
  const records = await readAllRecords(wal, 0, values.logChannel)
  expect(records.map(({ position }) => position)).toEqual([0, 1, 2, 3])
  const [rows, batch, ...others] = records.map(({ payload }) => payload)
  const { rows: wantedRows, commit, abort } = values.logRecords
  expect(decodeLogRecord(rows ?? new Uint8Array())).toEqual(wantedRows)
  expect(decodeBatch(batch ?? new Uint8Array())).toEqual(values.batch)
  expect(others.map(decodeLogRecord)).toEqual([commit, abort])
  const writer = await wal.openWriter(values.logChannel)
  expect(writer.term).toBeGreaterThan(values.channelState.term)
  expect(await writer.append([new Uint8Array()])).toEqual([4])
  await wal.close()
}

async function readMeta(folder: string): Promise<void> {
  const meta = await openEmbeddedMeta(folder)
  const entries = await meta.list('')
  expect(Object.fromEntries(entries.map(({ key, value }) => [key, value]))).toEqual(
    values.metaEntries,
  )
  // Entries of before and of now live beside each other.
  const [first] = entries
  const conditions = [{ key: first?.key ?? '', revision: first?.revision ?? 0 }]
  const outcome = await meta.write(conditions, [
    { kind: 'put', key: 'new', value: Uint8Array.of(1) },
  ])
  expect(outcome.kind).toBe('done')
  expect((await meta.list('')).length).toBe(entries.length + 1)
  await meta.close()
}

/** @param since what the manifests have learnt between flush and index */
async function readSegment(folder: string, since: Partial<SegmentManifest> = {}): Promise<void> {
  const objects = await openDirectoryObjects(folder)
  const identity = { ...values.schema, segmentId: values.segmentId }
  const manifests: SegmentManifest[] = []
  for await (const { name } of objects.list(segmentPrefix(identity))) {
    if (!name.endsWith('.json')) continue
    const bytes = (await objects.get(name)) ?? new Uint8Array()
    expect(name).toContain(checksumOf(bytes))
    manifests.push(JSON.parse(Buffer.from(bytes).toString()) as SegmentManifest)
  }
  manifests.sort((a, b) => a.indexes.length - b.indexes.length)
  const [flushed, indexed] = manifests
  if (flushed === undefined || indexed === undefined) throw new Error('two manifests are stored')
  expect(indexed).toEqual({ ...flushed, ...since, indexes: indexed.indexes })
  expect(indexed).toMatchObject({
    formatVersion: 1,
    ...{ segmentId: 9, tableId: 70_000, incarnation: 2, shard: 0 },
    ...{ rowCount: 3, minRowId: 11, maxRowId: 15, minTimestamp: 4096, maxTimestamp: 2 ** 52 },
    indexes: [{ indexOid: 70_002, attnum: 8, metric: 'l2' }],
  })
  expect(indexed.columns.map(({ nullCount }) => nullCount)).toEqual([1, 0, 1, 0, 0, 1, 0, 1, 1])
  // int8: −2⁶³ to 2⁶³ − 1.
  expect(indexed.columns[3]).toMatchObject({ min: 'gAAAAAAAAAA=', max: 'f/////////8=' })

  const loader = { native, objects, pause: async () => {}, verifyChecksums: true }
  const data = await loadSealedData(loader, indexed)
  expect(data.rowIds).toEqual(values.rowIds)
  expect(data.inserted).toEqual(values.inserted)
  expect([...data.columns.keys()]).toEqual(values.attnums)
  expect([...data.columns.values()]).toEqual(values.batch.columns)
  expect(await loadDeletes(loader, indexed)).toEqual({
    rowIds: Float64Array.of(12),
    deleted: Float64Array.of(2 ** 52 + 1),
  })

  const path = await objects.localPath(indexed.indexes[0]?.object.name ?? '')
  const index = await native.loadHnsw(path ?? '')
  expect([index.rowCount, index.metric]).toEqual([3, 'l2'])
  const segment = native.createSegment()
  const vectors = data.columns.get(values.vectorAttnum)
  if (vectors === undefined) throw new Error('no vectors')
  segment.setColumn(values.vectorAttnum, vectors)
  segment.setIndex(values.vectorAttnum, values.indexOid, index)
  const found = await native.search({
    segments: [{ segment, rowCount: 3 }],
    readAt: 0,
    attnum: values.vectorAttnum,
    metric: 'l2',
    query: Float32Array.of(3, 4),
    k: 3,
    efSearch: 10,
    mode: 'auto',
  })
  expect([...found.ordinals]).toEqual([1, 0])
  await objects.close()
}

async function readIndex(folder: string): Promise<void> {
  const { dimensions, metric, rows } = values.equalRows
  const rowCount = rows.length
  const column = { kind: 'vector', dimensions, values: Float32Array.from(rows.flat()) } as const
  for (const name of ['built.hnsw', 'grown.hnsw']) {
    const bytes = await readFile(join(folder, name))
    // Version, chained rows.
    expect([bytes.readUInt32LE(8), bytes.readUInt32LE(80)]).toEqual([2, 681])
    const index = await native.loadHnsw(join(folder, name))
    const segment = native.createSegment()
    segment.setColumn(1, { ...column, length: rowCount })
    segment.setIndex(1, 7, index)
    for (const row of rows.slice(0, 50)) {
      const request = {
        segments: [{ segment, rowCount }],
        ...{ readAt: 0, attnum: 1, metric, k: 2, efSearch: 2 },
        query: Float32Array.from(row),
      }
      const found = await native.search({ ...request, mode: 'auto' })
      const exact = await native.search({ ...request, mode: 'exact' })
      expect(found.strategies).toEqual(['index'])
      expect([found.ordinals, found.distances]).toEqual([exact.ordinals, exact.distances])
    }
  }
}

async function readSnapshot(folder: string, format: string): Promise<void> {
  const bytes = await readFile(join(folder, 'small.snapshot'))
  expect(verifyBundle(bytes)).toBe(format)
  const files = decodeBundle(bytes).map(({ path, content }) => ({
    path,
    content: content === undefined ? undefined : new Uint8Array(content),
  }))
  expect(files).toEqual(values.bundle)
}

async function readBackups(folder: string): Promise<void> {
  const objects = await openDirectoryObjects(folder)
  const { objects: _, ...facts } = values.snapshotFacts
  expect((await readBackup(objects)).manifest).toEqual({
    ...facts,
    kind: 'elanus backup',
    formatVersion: 1,
    takenAt: '2026-11-21T00:00:00.000Z',
  })
  const { term, keys } = await readCopy(objects)
  expect(term).toBe(1)
  expect(Object.fromEntries(keys)).toEqual(values.copiedMeta)
  await objects.close()
}
