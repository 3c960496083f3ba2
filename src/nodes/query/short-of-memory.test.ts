import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { filterArbitrary, hexOf } from '#engine/exec/exec.arbitrary.js'
import { native } from '#engine/index/native.js'
import type { ScanFragment, SearchFragment } from '#engine/plan/fragment.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'
import {
  allKinds,
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
const output = schema.columns.map(({ attnum }) => attnum)
const base = { tableId: schema.tableId, shard: 0 }
const index = { indexOid: 9, name: 'i', attnum: 8, metric: 'l2', m: 8, efConstruction: 64 } as const

let directory = ''
let objects: ObjectStore
let dataNode: DataNode
let nextSegmentId = 1

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'elanus-memory-'))
  objects = await openDirectoryObjects(join(directory, 'objects'))
  dataNode = await startDataNode({
    native,
    objects,
    runtime: systemRuntime,
    temporaryDirectory: join(directory, 'temporary'),
    threads: 2,
  })
})
afterAll(async () => {
  await dataNode.stop()
  await objects.close()
  await rm(directory, { recursive: true })
})

type Step =
  | { readonly kind: 'search'; readonly k: number }
  | { readonly kind: 'scan'; readonly fragment: Partial<ScanFragment>; readonly slowly: boolean }
  | { readonly kind: 'count' }
  | { readonly kind: 'delete'; readonly segment: number; readonly row: number }
  | { readonly kind: 'save deletes'; readonly segment: number }
  | { readonly kind: 'build index'; readonly segment: number }

const segmentCount = 6
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('search' as const), k: fc.integer({ min: 1, max: 12 }) }),
  fc.record({
    kind: fc.constant('scan' as const),
    slowly: fc.boolean(),
    fragment: fc.record({
      filter: fc.option(filterArbitrary, { nil: undefined }),
      limit: fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined }),
      orderBy: fc.option(
        fc.constant([{ attnum: 2, descending: true, nullsFirst: true, as: 'native' as const }]),
        { nil: undefined },
      ),
      output: fc.constantFrom(output, [8], [2, 7]),
    }),
  }),
  fc.constant<Step>({ kind: 'count' }),
  fc.record({
    kind: fc.constant('delete' as const),
    segment: fc.nat(segmentCount - 1),
    row: fc.nat(60),
  }),
  fc.record({
    kind: fc.constantFrom('save deletes' as const, 'build index' as const),
    segment: fc.nat(segmentCount - 1),
  }),
)

test('a look-up by a rising key brings only the segments that may have it into memory', async () => {
  const node = startQueryNode({ native, objects, runtime: systemRuntime })
  const keyed: TableSchema = { ...schema, keys: [{ ...key, attnums: [2] }] }
  const manifests: SegmentManifest[] = []
  for (let segment = 0; segment < 4; segment += 1) {
    const builder = createColumnBuilder('int16', 0)
    const datums = Array.from({ length: 10 }, (_, row) => Uint8Array.of(segment, row))
    for (const datum of datums) builder.appendDatum(datum)
    const rows: SealedRows = {
      tableId: schema.tableId,
      shard: 0,
      incarnation: schema.incarnation,
      attnums: [2],
      batch: { rowCount: 10, columns: [builder.finish()] },
      rowIds: Float64Array.from(datums, (_, row) => segment * 10 + row + 1),
      inserted: new Float64Array(10).fill(1),
      deleted: new Float64Array(10).fill(timestampMax),
    }
    const manifest = await dataNode.flush(nextSegmentId++, keyed, rows, backgroundContext)
    manifests.push(manifest)
    await node.load(manifest, keyed, 'when read')
  }
  const ids = manifests.map(({ segmentId }) => segmentId)
  const fragment = (...values: number[][]): ScanFragment => ({
    ...base,
    readAt: 50 as Timestamp,
    output: [],
    keys: { indexOid: key.indexOid, values: values.map((value) => [Uint8Array.from(value)]) },
  })
  const found = async (one: ScanFragment) => {
    const rowIds: number[] = []
    for await (const part of node.scan(ids, one, backgroundContext)) rowIds.push(...part.rowIds)
    return rowIds
  }
  expect(await found(fragment([9, 9]))).toEqual([])
  expect(node.loaded()).toEqual([])
  expect(await found(fragment([2, 3]))).toEqual([24])
  expect(node.loaded().map(({ segmentId }) => segmentId)).toEqual([ids[2]])
  expect(await found(fragment([0, 0], [3, 9]))).toEqual([1, 40])
  expect(node.loaded().length).toBe(3)
  await node.stop()
})

test('after a start indexes are used at once and compared later; a damaged one is not used any more', async () => {
  const [rows] = fc.sample(rowsArbitrary(schema.columns, 60, 1, 60), { numRuns: 1, seed: 5 })
  if (rows === undefined) throw new Error('no sample')
  const flushed = await dataNode.flush(
    nextSegmentId++,
    schema,
    sealedRows(rows, schema),
    backgroundContext,
  )
  const manifest = await dataNode.buildIndex(flushed, schema, index, () => {}, backgroundContext)
  const search = (node: LocalQueryNode) =>
    answer(node, [manifest.segmentId], 50 as Timestamp, { kind: 'search', k: 5 })
  const damage: unknown[] = []
  const open = () =>
    startQueryNode({
      native,
      objects,
      runtime: systemRuntime,
      onDamaged: (error) => damage.push(error),
    })
  const whole = open()
  await whole.load(manifest, schema, 'when read')
  const expected = await search(whole)
  expect(expected.length).toBe(5)
  await whole.stop()
  expect(damage).toEqual([])

  const name = manifest.indexes[0]?.object.name ?? ''
  const bytes = await objects.get(name)
  if (bytes === undefined) throw new Error('no index object')
  // Behind the header of 4096 bytes (docs/formats/hnsw.md), which is always looked at.
  bytes[4100] = (bytes[4100] ?? 0) ^ 1
  await objects.put(name, bytes)
  const harmed = open()
  await harmed.load(manifest, schema, 'when read')
  await search(harmed)
  for (let turn = 0; turn < 2000 && damage.length === 0; turn += 1) await systemRuntime.sleep(1)
  expect(damage).toMatchObject([{ code: 'XX001' }])
  expect(harmed.loaded()[0]?.indexBytes).toBe(0)
  expect(await search(harmed)).toEqual(expected)
  await harmed.stop()
})

test('a key that is no number is not looked for again in segments that are known not to have it', async () => {
  const keyed: TableSchema = { ...schema, keys: [{ ...key, attnums: [9] }] }
  const text = (value: string) => new Uint8Array(Buffer.from(value))
  const manifests: SegmentManifest[] = []
  for (let segment = 0; segment < 4; segment += 1) {
    const builder = createColumnBuilder('bytes', 0)
    for (let row = 0; row < 200; row += 1) builder.appendDatum(text(`key ${row * 4 + segment}`))
    const rows: SealedRows = {
      tableId: schema.tableId,
      shard: 0,
      incarnation: schema.incarnation,
      attnums: [9],
      batch: { rowCount: 200, columns: [builder.finish()] },
      rowIds: Float64Array.from({ length: 200 }, (_, row) => segment * 1000 + row + 1),
      inserted: new Float64Array(200).fill(1),
      deleted: new Float64Array(200).fill(timestampMax),
    }
    manifests.push(await dataNode.flush(nextSegmentId++, keyed, rows, backgroundContext))
  }
  const memoryBytes = (manifests[0]?.data.bytes ?? 0) * 2
  const node = startQueryNode({ native, objects, runtime: systemRuntime, memoryBytes })
  for (const manifest of manifests) await node.load(manifest, keyed, 'when read')
  const ids = manifests.map(({ segmentId }) => segmentId)
  const found = async (value: string) => {
    const keys = { indexOid: key.indexOid, values: [[text(value)]] }
    const fragment: ScanFragment = { ...base, readAt: 50 as Timestamp, output: [], keys }
    const rowIds: number[] = []
    for await (const part of node.scan(ids, fragment, backgroundContext))
      rowIds.push(...part.rowIds)
    return rowIds
  }
  expect(await found('another')).toEqual([])
  const { loads } = node.memory()
  for (let i = 0; i < 100; i += 1) expect(await found(`another ${i}`)).toEqual([])
  expect(node.memory().loads - loads).toBeLessThanOrEqual(4)
  for (let i = 0; i < 800; i += 37) {
    expect(await found(`key ${i}`)).toEqual([(i % 4) * 1000 + Math.floor(i / 4) + 1])
  }
  await node.stop()
})

async function answer(node: LocalQueryNode, ids: readonly number[], at: Timestamp, step: Step) {
  switch (step.kind) {
    case 'search': {
      const fragment: SearchFragment = {
        ...base,
        readAt: at,
        attnum: 8,
        metric: 'l2',
        query: Float32Array.of(1, 0, 2),
        k: step.k,
        efSearch: 64,
        mode: 'auto',
        output: [9],
      }
      const { distances, rowIds } = await node.search(ids, fragment, backgroundContext)
      return [...distances].map((distance, i) => `${distance} ${rowIds[i]}`)
    }
    case 'scan': {
      const fragment: ScanFragment = { ...base, readAt: at, output, ...step.fragment }
      const found: string[] = []
      for await (const part of node.scan(ids, fragment, backgroundContext)) {
        part.rowIds.forEach((rowId, row) => {
          found.push([rowId, ...part.batch.columns.map((one) => hexOf(one, row))].join(' '))
        })
        // Meanwhile others push its segments out.
        if (step.slowly) {
          for (let turn = 0; turn < 3; turn += 1) await systemRuntime.sleep(0)
        }
      }
      return found
    }
    case 'count': {
      const aggregates = [{ kind: 'countStar', attnum: 0, as: 'native' } as const]
      const fragment = { ...base, readAt: at, aggregates }
      const { values } = await node.aggregate(ids, fragment, backgroundContext)
      return [String(values[0]?.count)]
    }
    default:
      return []
  }
}

function sortedDeletes(deleted: ReadonlyMap<number, number> = new Map()) {
  const rowIds = Float64Array.from(deleted.keys()).sort()
  return { rowIds, deleted: rowIds.map((rowId) => deleted.get(rowId) ?? 0) }
}

test('a node with room for one or two of its segments answers as one with room for all', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(
        ...Array.from({ length: segmentCount }, (_, i) =>
          rowsArbitrary(schema.columns, 60, 1 + i * 1000, 20),
        ),
      ),
      fc.array(fc.array(stepArbitrary, { minLength: 1, maxLength: 5 }), {
        minLength: 1,
        maxLength: 6,
      }),
      fc.double({ min: 0.9, max: 3, noNaN: true }),
      async (tables, rounds, room) => {
        let manifests: SegmentManifest[] = []
        for (const rows of tables) {
          const sealed = sealedRows(rows, schema)
          manifests.push(await dataNode.flush(nextSegmentId++, schema, sealed, backgroundContext))
        }
        const ids = manifests.map(({ segmentId }) => segmentId)
        const largest = Math.max(
          ...manifests.map(({ data, rowCount }) => data.bytes + rowCount * 9),
        )
        const budget = Math.round(largest * room)
        const roomy = startQueryNode({ native, objects, runtime: systemRuntime })
        const short = startQueryNode({
          native,
          objects,
          runtime: systemRuntime,
          memoryBytes: budget,
        })
        try {
          for (const manifest of manifests) {
            await roomy.load(manifest, schema)
            await short.load(manifest, schema, 'when read')
          }
          expect(short.loaded()).toEqual([])
          let at = 50
          // As the streaming node keeps them: each row's first delete.
          const deleted = tables.map(
            (rows) =>
              new Map(
                [...rows.rowIds].flatMap((rowId, row): [number, number][] => {
                  const when = rows.deleted[row] ?? timestampMax
                  return when === timestampMax ? [] : [[rowId, when]]
                }),
              ),
          )
          for (const steps of rounds) {
            // Of one round all at once: they get in each other's way.
            const readAt = at as Timestamp
            await Promise.all(
              steps.map(async (one) => {
                const [expected, found] = await Promise.all([
                  answer(roomy, ids, readAt, one),
                  answer(short, ids, readAt, one),
                ])
                expect(found).toEqual(expected)
              }),
            )
            for (const one of steps) {
              at += 1
              if (one.kind === 'delete') {
                const rowIds = tables[one.segment]?.rowIds.slice(one.row, one.row + 2)
                if (rowIds === undefined) continue
                const known = deleted[one.segment]
                for (const rowId of rowIds) if (!known?.has(rowId)) known?.set(rowId, at)
                for (const node of [roomy, short]) {
                  node.applyDeletes(ids[one.segment] ?? 0, rowIds, at as Timestamp)
                }
              }
              if (one.kind !== 'save deletes' && one.kind !== 'build index') continue
              const manifest = manifests[one.segment]
              if (manifest === undefined) continue
              const next =
                one.kind === 'build index'
                  ? await dataNode.buildIndex(manifest, schema, index, () => {}, backgroundContext)
                  : await dataNode.writeDeletes(
                      manifest,
                      sortedDeletes(deleted[one.segment]),
                      backgroundContext,
                    )
              manifests = manifests.with(one.segment, next)
              await Promise.all([roomy.load(next, schema), short.load(next, schema)])
            }
          }
          const { usedBytes } = short.memory()
          const keptAtMost = (16 * 2 + 4) * 60 * segmentCount
          expect(usedBytes).toBeLessThanOrEqual(budget + keptAtMost)
        } finally {
          await Promise.all([roomy.stop(), short.stop()])
        }
        expect(short.loaded()).toEqual([])
      },
    ),
    { numRuns: 15 },
  )
}, 60_000)
