/**
 * Writes the files that test/formats keeps, as the code of today writes them:
 *
 *     node --conditions=source --import tsx test/formats/run-write-files.ts
 *
 * Sets that are there are left as they are. Whoever changes a format raises its number in `sets`, runs this, and commits
 * the new folder; the old ones stay, and formats.test.ts goes on reading them.
 */
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { backgroundContext } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import { putBackup } from '#cli/backup/backup-manifest.js'
import { encodeBatch } from '#engine/columnar/batch-codec.js'
import { native } from '#engine/index/native.js'
import { openFencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { copiesMeta } from '#nodes/coordinator/meta-copy.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { encodeLogRecord, type LogRecordContent } from '#nodes/streaming/log-record.js'
import { encodeTable } from '#nodes/streaming/table-settings.js'
import { encodeBundle } from '#postgres/snapshot-bundle.js'
import { openEmbeddedMeta } from '#storage/meta/embedded/embedded-meta.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import * as values from './values.js'

const root = fileURLToPath(new URL('./fixtures', import.meta.url))

const sets: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  'backup-1': writeBackup,
  'batch-1': (folder) => put(folder, 'every-kind.bin', encodeBatch(values.batch)),
  'hnsw-2': writeIndex,
  'log-record-1': (folder) => writeLogRecords(folder, values.logRecords),
  'log-record-2': (folder) => writeLogRecords(folder, values.laterLogRecords),
  'log-2': writeLog,
  'meta-2': writeMeta,
  'segment-3': writeSegment,
  'snapshot-2': (folder) => put(folder, 'small.snapshot', encodeBundle(values.bundle)),
  'table-schema-1': (folder) => put(folder, 'kept.json', encodeTable(values.schema)),
}

async function put(folder: string, name: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true })
  await writeFile(join(folder, name), bytes)
}

/** A folder of backups with one, and beside it a copy of a meta store: a base and changes. */
async function writeBackup(folder: string): Promise<void> {
  const objects = await openDirectoryObjects(folder)
  await putBackup(objects, values.snapshotFacts, new Date(Date.UTC(2026, 10, 21)))
  const meta = await openEmbeddedMeta(join(folder, '.meta'))
  const fenced = await openFencedMeta(meta)
  const copy = copiesMeta(fenced, meta, objects, systemRuntime)
  await copy.fenced.write([{ kind: 'put', key: 'setting/gone', value: new Uint8Array([1]) }])
  await copy.save()
  const puts = Object.entries(values.copiedMeta).map(([key, value]) => ({
    kind: 'put' as const,
    key,
    value,
  }))
  await copy.fenced.write([...puts, { kind: 'delete', key: 'setting/gone' }])
  await copy.save()
  await copy.stop()
  await meta.close()
  await objects.close()
  for (const name of ['.meta', '.tmp']) await rm(join(folder, name), { recursive: true })
}

async function writeLogRecords(
  folder: string,
  records: Readonly<Record<string, LogRecordContent>>,
): Promise<void> {
  for (const [name, record] of Object.entries(records))
    await put(folder, `${name}.bin`, encodeLogRecord(record))
}

/** Log file, frames and the channel's state. */
async function writeLog(folder: string): Promise<void> {
  const { rows, commit, abort } = values.logRecords
  const wal = await openEmbeddedWal(folder, {
    ...systemRuntime,
    randomBytes: (count) => new Uint8Array(count).fill(0x5a),
  })
  const writer = await wal.openWriter(values.logChannel)
  await writer.append(
    [rows, commit].flatMap((record) =>
      record.kind === 'rows'
        ? [encodeLogRecord(record), encodeBatch(values.batch)]
        : [encodeLogRecord(record)],
    ),
  )
  await writer.append([encodeLogRecord(abort)])
  await writer.close()
  await wal.close()
}

async function writeMeta(folder: string): Promise<void> {
  const meta = await openEmbeddedMeta(folder)
  await meta.write(
    [],
    [
      ...Object.entries(values.metaEntries).map(([key, value]) => ({
        kind: 'put' as const,
        key,
        value,
      })),
      { kind: 'put', key: values.leasedKey, value: Uint8Array.of(1), lease: 'somebody' },
    ],
  )
  await meta.close()
  await rm(join(folder, 'lock.mdb'))
}

/** Data, deletes, index, and the manifests from flush to index. */
async function writeSegment(folder: string): Promise<void> {
  const objects = await openDirectoryObjects(folder)
  const temporaryDirectory = join(folder, 'temporary')
  const node = await startDataNode({
    native,
    objects,
    runtime: systemRuntime,
    temporaryDirectory,
    threads: 1,
  })
  const { schema, rowIds, inserted, deleted, batch, attnums, indexOid, vectorAttnum } = values
  const { tableId, incarnation } = schema
  const rows = { tableId, incarnation, shard: 0, attnums, batch, rowIds, inserted, deleted }
  const flushed = await node.flush(values.segmentId, schema, rows, backgroundContext)
  const graph = { metric: 'l2', m: 4, efConstruction: 10 } as const
  const index = { indexOid, name: 'kept_embedding_idx', attnum: vectorAttnum, ...graph }
  const known = { ...flushed, deletesUntil: values.deletesUntil }
  await node.buildIndex(known, schema, index, () => {}, backgroundContext)
  await node.stop()
  await objects.close()
  await rm(temporaryDirectory, { recursive: true })
  await rm(join(folder, '.tmp'), { recursive: true, force: true })
}

/** A built index, and one of a graph that grew, in which rows are chained. */
async function writeIndex(folder: string): Promise<void> {
  const { dimensions, metric, rows } = values.equalRows
  const graph = { dimensions, metric, m: 2, efConstruction: 10 }
  const floats = Float32Array.from(rows.flat())
  const rowCount = rows.length
  const built = await native.buildHnsw({ ...graph, values: floats, rowCount, threads: 1 })
  await built.save(join(folder, 'built.hnsw'))
  const segment = native.createSegment()
  segment.setColumn(1, { kind: 'vector', dimensions, length: rowCount, values: floats })
  const interim = native.createInterim(graph)
  await interim.extend(segment, 1, rowCount)
  await (await interim.copy()).save(join(folder, 'grown.hnsw'))
}

for (const [name, write] of Object.entries(sets)) {
  const folder = join(root, name)
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  )
  process.stdout.write(`${name} ${isThere ? 'is there' : 'is written'}\n`)
  if (isThere) continue
  await mkdir(folder, { recursive: true })
  await write(folder)
}
