import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import { hexOf } from '#engine/exec/exec.arbitrary.js'
import { native } from '#engine/index/native.js'
import { loadDeletes, loadSealedData } from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { namedObjects } from '#engine/segment/object-names.js'
import {
  allKinds,
  type RandomRows,
  rowsArbitrary,
  sealedRows,
  tableSchema,
} from '#engine/segment/segment.arbitrary.js'
import type { DataNode } from '#nodes/data/contract.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const schema = tableSchema(allKinds)
let directory = ''
let objects: ObjectStore
let node: DataNode

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'elanus-data-'))
  objects = await openDirectoryObjects(join(directory, 'objects'))
  node = await startOver(objects)
})
afterAll(async () => {
  await node.stop()
  await objects.close()
  await rm(directory, { recursive: true })
})

function startOver(store: ObjectStore): Promise<DataNode> {
  return startDataNode({
    native,
    objects: store,
    runtime: systemRuntime,
    temporaryDirectory: join(directory, 'temporary'),
    threads: 2,
  })
}

async function read(manifest: SegmentManifest) {
  const loader = { native, objects, pause: async () => {}, verifyChecksums: true }
  const data = await loadSealedData(loader, manifest)
  const deletes = await loadDeletes(loader, manifest)
  const deletedAt = new Map([...deletes.rowIds].map((rowId, i) => [rowId, deletes.deleted[i]]))
  return Array.from(data.rowIds, (rowId, row) => [
    rowId,
    data.inserted[row],
    deletedAt.get(rowId) ?? Number.POSITIVE_INFINITY,
    ...schema.columns.map(({ attnum }) => hexOf(data.columns.get(attnum), row)),
  ])
}

function expected(rows: RandomRows, keep: (rowId: number) => boolean = () => true) {
  return Array.from(rows.rowIds, (rowId, row) => [
    rowId,
    rows.inserted[row],
    rows.deleted[row],
    ...rows.batch.columns.map((column) => hexOf(column, row)),
  ]).filter(([rowId]) => keep(Number(rowId)))
}

let nextSegmentId = 1

describe('the data node', () => {
  test('flushes rows and their deletes, and merges segments without what is dropped', async () => {
    await fc.assert(
      fc.asyncProperty(
        rowsArbitrary(schema.columns, 25, 1),
        rowsArbitrary(schema.columns, 25, 500),
        async (first, second) => {
          const inputs = []
          for (const rows of [second, first]) {
            const segmentId = nextSegmentId++
            const sealed = sealedRows(rows, schema)
            const manifest = await node.flush(segmentId, schema, sealed, backgroundContext)
            expect(await read(manifest)).toEqual(expected(rows))
            const deletedRowIds = rows.rowIds.filter((_, row) => (rows.deleted[row] ?? 0) <= 5)
            inputs.push({ manifest, deletedRowIds })
          }
          const merged = await node.compact(nextSegmentId++, schema, inputs, backgroundContext)
          const dropped = new Set(inputs.flatMap(({ deletedRowIds }) => [...deletedRowIds]))
          const keep = (rowId: number) => !dropped.has(rowId)
          expect(await read(merged)).toEqual([...expected(first, keep), ...expected(second, keep)])
        },
      ),
      { numRuns: 15 },
    )
  })

  test('writes large segments through a file that reads back the same, and leaves nothing behind', async () => {
    const vectors = { ...tableSchema(['vector', 'bytes']) }
    const [column, text] = vectors.columns
    if (column === undefined || text === undefined) throw new Error('no column')
    const rowCount = 12_000
    const table = { ...vectors, columns: [{ ...column, width: 128 }, text] }
    const values = Float32Array.from({ length: rowCount * 128 }, (_, i) => Math.sin(i))
    const rowIds = Float64Array.from({ length: rowCount }, (_, i) => i + 1)
    const bytes = new TextEncoder().encode('word'.repeat(rowCount))
    const offsets = Int32Array.from({ length: rowCount + 1 }, (_, i) => 4 * i)
    const rows = {
      batch: {
        rowCount,
        columns: [
          { kind: 'vector' as const, dimensions: 128, length: rowCount, values },
          { kind: 'bytes' as const, length: rowCount, values: bytes, offsets },
        ],
      },
      rowIds,
      inserted: rowIds,
      deleted: new Float64Array(rowCount).fill(Number.POSITIVE_INFINITY),
    }
    const flushed = await node.flush(900, table, sealedRows(rows, table), backgroundContext)
    expect(flushed.data.bytes).toBeGreaterThan(rowCount * 512)
    const loader = { native, objects, pause: async () => {}, verifyChecksums: true }
    const data = await loadSealedData(loader, flushed)
    expect(data.columns.get(1)).toMatchObject({ kind: 'vector', dimensions: 128 })
    expect(
      Buffer.compare(Buffer.from(asBytes(data.columns.get(1))), asBytes(rows.batch.columns[0])),
    ).toBe(0)
    const index = {
      indexOid: 5,
      name: 'i',
      attnum: 1,
      metric: 'l2' as const,
      m: 8,
      efConstruction: 32,
    }
    const progress: number[] = []
    const indexed = await node.buildIndex(
      flushed,
      table,
      index,
      (done) => progress.push(done),
      backgroundContext,
    )
    expect(indexed.indexes).toMatchObject([{ indexOid: 5, attnum: 1, metric: 'l2' }])
    const path = await objects.localPath(indexed.indexes[0]?.object.name ?? '')
    const graph = await native.loadHnsw(path ?? '')
    expect(graph.rowCount).toBe(rowCount)
    graph.close()
    const compacted = await node.compact(
      901,
      table,
      [{ manifest: indexed, deletedRowIds: rowIds.filter((rowId) => rowId % 2 === 0) }],
      backgroundContext,
    )
    expect(compacted.rowCount).toBe(rowCount / 2)
    expect(compacted.indexes).toEqual([])
    const half = await loadSealedData(loader, compacted)
    expect([...half.rowIds.subarray(0, 3)]).toEqual([1, 3, 5])
    expect(await readdir(join(directory, 'temporary'))).toEqual([])
  })

  test('puts everything that a manifest names before the manifest, whichever put fails (OBJ-3)', async () => {
    const [rows] = fc.sample(rowsArbitrary(schema.columns, 30), { numRuns: 1, seed: 5 })
    if (rows === undefined) throw new Error('no sample')
    for (let failing = 0; failing < 4; failing += 1) {
      const store = failingObjects(objects, failing)
      const broken = await startOver(store)
      const segmentId = 950 + failing
      const outcome = await broken
        .flush(segmentId, schema, sealedRows(rows, schema), backgroundContext)
        .then(
          () => 'flushed',
          () => 'failed',
        )
      expect(outcome).toBe(failing < 3 ? 'failed' : 'flushed')
      for await (const { name } of objects.list(`tables/1000/1/segments/${segmentId}/manifest-`)) {
        const bytes = await objects.get(name)
        const manifest = JSON.parse(new TextDecoder().decode(bytes)) as SegmentManifest
        for (const named of namedObjects(manifest)) expect(await objects.get(named)).toBeDefined()
      }
      // Done again: the same objects, whole.
      const again = await node.flush(segmentId, schema, sealedRows(rows, schema), backgroundContext)
      expect(await read(again)).toEqual(expected(rows))
    }
  })

  test('refuses objects that were changed', async () => {
    const [rows] = fc.sample(rowsArbitrary(schema.columns, 30), { numRuns: 1, seed: 5 })
    if (rows === undefined) throw new Error('no sample')
    const manifest = await node.flush(990, schema, sealedRows(rows, schema), backgroundContext)
    const bytes = new Uint8Array(
      await readFile((await objects.localPath(manifest.data.name)) ?? ''),
    )
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    await objects.put(manifest.data.name, bytes)
    await expect(read(manifest)).rejects.toMatchObject({ sqlState: 'XX001' })
  })
})

function asBytes(column: { readonly values: ArrayBufferView } | undefined): Uint8Array {
  if (column === undefined) return new Uint8Array(0)
  const { buffer, byteOffset, byteLength } = column.values
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Puts work until `after` of them are done; the next fails before anything is stored. */
function failingObjects(store: ObjectStore, after: number): ObjectStore {
  let puts = 0
  const count = () => {
    puts += 1
    if (puts > after) throw new Error('no more puts')
  }
  return {
    put: async (name, bytes, options) => {
      count()
      return await store.put(name, bytes, options)
    },
    putFile: async (name, path) => {
      count()
      await store.putFile(name, path)
    },
    get: (name) => store.get(name),
    getRange: (name, offset, length) => store.getRange(name, offset, length),
    localPath: (name) => store.localPath(name),
    list: (prefix) => store.list(prefix),
    delete: (name) => store.delete(name),
    close: async () => {},
  }
}
