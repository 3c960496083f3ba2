import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { filterArbitrary, hexOf, judgeRows } from '#engine/exec/exec.arbitrary.js'
import { native } from '#engine/index/native.js'
import type { ScanFragment, SearchFragment } from '#engine/plan/fragment.js'
import {
  allKinds,
  columnSchema,
  type RandomRows,
  rowsArbitrary,
  sealedRows,
  tableSchema,
} from '#engine/segment/segment.arbitrary.js'
import type { DataNode } from '#nodes/data/contract.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { type LocalQueryNode, startQueryNode } from '#nodes/query/query-node.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const key: KeyConstraint = {
  name: 'rows_key',
  indexOid: 70,
  attnums: [4],
  primary: true,
  nullsNotDistinct: false,
}
const schema: TableSchema = { ...tableSchema(allKinds), keys: [key] }
const attnums = schema.columns.map(({ attnum }) => attnum)
const base = { tableId: schema.tableId, shard: 0 }
const readAt = 100 as Timestamp

let directory = ''
let objects: ObjectStore
let dataNode: DataNode
let node: LocalQueryNode
let nextSegmentId = 1

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'elanus-query-'))
  objects = await openDirectoryObjects(join(directory, 'objects'))
  dataNode = await startDataNode({
    native,
    objects,
    runtime: systemRuntime,
    temporaryDirectory: join(directory, 'temporary'),
    threads: 2,
  })
  node = startQueryNode({ native, objects, runtime: systemRuntime })
})
afterAll(async () => {
  await node.stop()
  await dataNode.stop()
  await objects.close()
  await rm(directory, { recursive: true })
})

async function loaded(rows: RandomRows, table = schema) {
  const manifest = await dataNode.flush(
    nextSegmentId++,
    table,
    sealedRows(rows, table),
    backgroundContext,
  )
  await node.load(manifest, table)
  return manifest
}

async function scanned(segmentIds: readonly number[], fragment: Partial<ScanFragment> = {}) {
  const whole: ScanFragment = { ...base, readAt, output: attnums, ...fragment }
  const found: string[] = []
  for await (const { rowIds, batch } of node.scan(segmentIds, whole, backgroundContext)) {
    rowIds.forEach((rowId, row) => {
      found.push([rowId, ...batch.columns.map((column) => hexOf(column, row))].join(' '))
    })
  }
  return found
}

function rowIdsOf(found: readonly string[]): number[] {
  return found.map((row) => Number(row.split(' ')[0]))
}

/** Live rows, inserted at 1. */
function liveRows(): RandomRows {
  const [rows] = fc.sample(rowsArbitrary(schema.columns, 40, 1, 30), { numRuns: 1, seed: 11 })
  if (rows === undefined) throw new Error('no sample')
  return {
    ...rows,
    inserted: rows.inserted.map(() => 1),
    deleted: rows.deleted.map(() => timestampMax),
  }
}

const searchFragment: SearchFragment = {
  ...base,
  readAt,
  attnum: 8,
  metric: 'l2',
  query: Float32Array.of(1, 0, 2),
  k: 5,
  efSearch: 64,
  mode: 'auto',
  output: [9],
}

describe('the query node', () => {
  test('answers scans over loaded segments as a plain loop over the rows does', async () => {
    await fc.assert(
      fc.asyncProperty(
        rowsArbitrary(schema.columns, 25, 1),
        rowsArbitrary(schema.columns, 25, 500),
        fc.option(filterArbitrary, { nil: undefined }),
        fc.integer({ min: 0, max: 11 }),
        async (first, second, filter, at) => {
          const manifests = [await loaded(second), await loaded(first)]
          const segmentIds = manifests.map(({ segmentId }) => segmentId)
          const condition = { readAt: at as Timestamp, filter }
          const expected = judgeRows([first, second], schema.columns, condition).map(
            ({ rowId, row, columns }) =>
              [rowId, ...attnums.map((attnum) => hexOf(columns.get(attnum), row))].join(' '),
          )
          expect(await scanned(segmentIds, condition)).toEqual(expected)
          const counted = await node.aggregate(
            segmentIds,
            { ...base, ...condition, aggregates: [{ kind: 'countStar', attnum: 0, as: 'native' }] },
            backgroundContext,
          )
          expect(counted.values[0]?.count).toBe(expected.length)
          await Promise.all(segmentIds.map((segmentId) => node.release(segmentId)))
          await expect(scanned(segmentIds)).rejects.toMatchObject({ sqlState: '55000' })
        },
      ),
      { numRuns: 20 },
    )
    expect(node.loaded()).toEqual([])
  })

  test('hides rows that are deleted at or before the read, from then on and after a reload', async () => {
    const rows = liveRows()
    const manifest = await loaded(rows)
    const { segmentId } = manifest
    const gone = rows.rowIds.slice(2, 4)
    node.applyDeletes(segmentId, gone, 50 as Timestamp)
    node.applyDeletes(segmentId, Float64Array.of(999_999), 50 as Timestamp)
    const all = [...rows.rowIds]
    const left = all.filter((rowId) => !gone.includes(rowId))
    expect(rowIdsOf(await scanned([segmentId], { readAt: 49 as Timestamp }))).toEqual(all)
    expect(rowIdsOf(await scanned([segmentId], { readAt: 50 as Timestamp }))).toEqual(left)
    const deleted = Float64Array.of(50, 50)
    const next = await dataNode.writeDeletes(manifest, { rowIds: gone, deleted }, backgroundContext)
    await node.release(segmentId)
    await node.load(next, schema)
    expect(rowIdsOf(await scanned([segmentId]))).toEqual(left)
    await node.release(segmentId)
  })

  test('VIEW-1: an older manifest, of an owner who was deposed, brings no deleted row back', async () => {
    const rows = liveRows()
    const manifest = await loaded(rows)
    const other = await loaded(liveRows())
    const gone = rows.rowIds.slice(2, 4)
    const deletes = { rowIds: gone, deleted: Float64Array.of(50, 50) }
    const next = await dataNode.writeDeletes(manifest, deletes, backgroundContext)
    // Room for one of them: each read of one puts the other out of memory.
    const memoryBytes = Math.max(manifest.data.bytes, other.data.bytes)
    const short = startQueryNode({ native, objects, runtime: systemRuntime, memoryBytes })
    const visible = async (segmentId: number) => {
      const found: number[] = []
      const whole: ScanFragment = { ...base, readAt, output: attnums }
      for await (const part of short.scan([segmentId], whole, backgroundContext))
        found.push(...part.rowIds)
      return found
    }
    await short.load(other, schema)
    await short.load(manifest, schema)
    short.applyDeletes(manifest.segmentId, gone, 50 as Timestamp)
    await short.load(next, schema)
    await short.load(manifest, schema)
    await visible(other.segmentId)
    expect(await visible(manifest.segmentId)).toEqual(
      [...rows.rowIds].filter((rowId) => !gone.includes(rowId)),
    )
    await short.stop()
    for (const { segmentId } of [manifest, other]) await node.release(segmentId)
  })

  test('keeps deletes that arrive while the segment is being loaded', async () => {
    const rows = liveRows()
    const manifest = await loaded(rows)
    const { segmentId } = manifest
    await node.release(segmentId)
    const loading = node.load(manifest, schema)
    node.applyDeletes(segmentId, rows.rowIds.slice(0, 1), 50 as Timestamp)
    await loading
    expect(rowIdsOf(await scanned([segmentId]))).toEqual([...rows.rowIds.slice(1)])
    await node.release(segmentId)
    expect(() => node.applyDeletes(segmentId, rows.rowIds, readAt)).toThrow(/is not loaded/)
  })

  test('switches to a manifest with an index, and back, with the same answers and its deletes', async () => {
    const rows = liveRows()
    const manifest = await loaded(rows)
    const { segmentId } = manifest
    node.applyDeletes(segmentId, rows.rowIds.slice(0, 3), 50 as Timestamp)
    const exact = await node.search([segmentId], searchFragment, backgroundContext)
    const index = {
      indexOid: 9,
      name: 'i',
      attnum: 8,
      metric: 'l2' as const,
      m: 8,
      efConstruction: 64,
    }
    const indexed = await dataNode.buildIndex(manifest, schema, index, () => {}, backgroundContext)
    await node.load(indexed, schema)
    expect(node.loaded()[0]?.indexBytes).toBeGreaterThan(0)
    const found = await node.search([segmentId], searchFragment, backgroundContext)
    expect([...found.distances]).toEqual([...exact.distances])
    expect(found.rowIds.some((rowId) => rows.rowIds.slice(0, 3).includes(rowId))).toBe(false)
    await node.load(manifest, schema)
    expect(node.loaded()[0]?.indexBytes).toBe(0)
    await node.release(segmentId)
  })

  test('finishes the reads inside before a release takes effect', async () => {
    const rows = liveRows()
    const { segmentId } = await loaded(rows)
    const scan = node.scan([segmentId], { ...base, readAt, output: attnums }, backgroundContext)
    const searching = node.search([segmentId], searchFragment, backgroundContext)
    const first = await scan.next()
    let released = false
    const releasing = node.release(segmentId).then(() => {
      released = true
    })
    await systemRuntime.sleep(5)
    expect(released).toBe(false)
    expect((await searching).rowIds.length).toBe(5)
    await expect(scanned([segmentId])).rejects.toThrow(/is not loaded/)
    expect(first.done).toBe(false)
    expect((await scan.next()).done).toBe(true)
    await releasing
    expect(released).toBe(true)
  })

  test('lets go of a segment when a reader leaves a scan early', async () => {
    const { segmentId } = await loaded(liveRows())
    for await (const _ of node.scan(
      [segmentId],
      { ...base, readAt, output: [] },
      backgroundContext,
    )) {
      break
    }
    await node.release(segmentId)
  })

  test('finds rows by key', async () => {
    const rows = liveRows()
    const { segmentId } = await loaded(rows)
    const column = rows.batch.columns[3]
    if (column === undefined) throw new Error('no column')
    const row = Array.from(rows.rowIds).findIndex((_, at) => hexOf(column, at) !== null)
    const value = readDatum(column, row)
    const expected = [...rows.rowIds].filter((_, at) => hexOf(column, at) === hexOf(column, row))
    const keys = { indexOid: key.indexOid, values: [[value], [value]] }
    expect(rowIdsOf(await scanned([segmentId], { keys }))).toEqual(expected)
    const unknown = { indexOid: 71, values: [[value]] }
    await expect(scanned([segmentId], { keys: unknown })).rejects.toMatchObject({
      sqlState: '42704',
    })
    await node.release(segmentId)
  })

  test('reads what a later column says was missing in older segments', async () => {
    const rows = liveRows()
    const { segmentId } = await loaded(rows)
    const added = { ...columnSchema(10, 'int32'), missing: Uint8Array.of(0, 0, 0, 42) }
    node.putSchema({ ...schema, version: 2, columns: [...schema.columns, added] })
    const is42 = { op: 'compare', attnum: 10, comparison: '=', as: 'native', value: 42 } as const
    const found = await scanned([segmentId], { filter: is42, output: [10] })
    expect(found).toEqual([...rows.rowIds].map((rowId) => `${rowId} 0000002a`))
    await node.release(segmentId)
  })
})
