import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { DatabaseError, UnreachableError } from '#base/errors.js'
import { rankByHash } from '#base/rendezvous.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import { hexOf } from '#engine/exec/exec.arbitrary.js'
import { native } from '#engine/index/native.js'
import type { ScanFragment, SearchFragment } from '#engine/plan/fragment.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { rowsArbitrary, sealedRows, tableSchema } from '#engine/segment/segment.arbitrary.js'
import { startDataNode } from '#nodes/data/data-node.js'
import type { QueryNode, QueryReplica } from '#nodes/query/contract.js'
import { openPlacedQueryNodes, type PlacedQueryNodes } from '#nodes/query/placed-query-nodes.js'
import { type LocalQueryNode, startQueryNode } from '#nodes/query/query-node.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const schema = tableSchema(['int32', 'vector'])
const base = { tableId: schema.tableId, shard: 0 }
const segmentCount = 6
const runtime = systemRuntime

let directory = ''
let objects: ObjectStore
/** Of segments 1.., row ids apart. */
const manifests: SegmentManifest[] = []
const rowIds: Float64Array[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'elanus-placed-'))
  objects = await openDirectoryObjects(join(directory, 'objects'))
  const temporaryDirectory = join(directory, 'temporary')
  const dataNode = await startDataNode({
    native,
    objects,
    runtime,
    temporaryDirectory,
    threads: 1,
  } as Parameters<typeof startDataNode>[0])
  for (let i = 0; i < segmentCount; i += 1) {
    const [rows] = fc.sample(rowsArbitrary(schema.columns, 20, i * 1000 + 1, 10), {
      numRuns: 1,
      seed: i,
    })
    if (rows === undefined) throw new Error('no sample')
    const live = {
      ...rows,
      inserted: rows.inserted.map(() => 1),
      deleted: rows.deleted.map(() => timestampMax),
    }
    const flushed = sealedRows(live, schema)
    manifests.push(await dataNode.flush(i + 1, schema, flushed, backgroundContext))
    rowIds.push(live.rowIds)
  }
  await dataNode.stop()
})
afterAll(async () => {
  await objects.close()
  await rm(directory, { recursive: true })
})

/** A life of a query node, behind a network that is slow and loses things. */
class Life {
  readonly node: LocalQueryNode = startQueryNode({ native, objects, runtime } as Parameters<
    typeof startQueryNode
  >[0])
  readonly replica: QueryReplica
  readonly asked = new Set<number>()
  isCut = false

  constructor(trouble: () => number) {
    const { node } = this
    const call = async <T>(run: () => T | Promise<T>): Promise<T> => {
      const chance = trouble()
      if (chance > 0.2) await runtime.sleep(chance * 2)
      if (this.isCut || chance < 0.05) throw new UnreachableError('determinate', 'cut')
      const answer = await run()
      if (this.isCut || chance < 0.1) throw new UnreachableError('indeterminate', 'cut')
      return answer
    }
    const ask = (ids: readonly number[]) => {
      for (const id of ids) this.asked.add(id)
    }
    this.replica = {
      load: (manifest, table, when) => call(() => node.load(manifest, table, when)),
      release: (id) => call(() => node.release(id)),
      putSchema: (table) => call(() => node.putSchema(table)),
      applyDeletes: async (id, rows, at) => {
        await runtime.sleep(trouble() * 6)
        await call(() => node.applyDeletes(id, rows, at))
      },
      search: (ids, fragment, context) => {
        ask(ids)
        return call(() => node.search(ids, fragment, context))
      },
      aggregate: (ids, fragment, context) => call(() => node.aggregate(ids, fragment, context)),
      async *scan(ids, fragment, context) {
        const parts = node.scan(ids, fragment, context)
        try {
          for (;;) {
            const next = await call(() => parts.next())
            if (next.done) return next.value
            yield next.value
          }
        } finally {
          await parts.return({ segments: [] })
        }
      },
      stop: async () => {},
    }
  }
}

const search: Omit<SearchFragment, 'readAt'> = {
  ...base,
  attnum: 2,
  metric: 'l2',
  query: Float32Array.of(1, 0, 2),
  k: 7,
  efSearch: 64,
  mode: 'exact',
  output: [1],
}
const counting = [{ kind: 'countStar', attnum: 0, as: 'native' }] as const
const orderBy = [{ attnum: 1, as: 'native', descending: true, nullsFirst: false }] as const

async function answers(node: QueryNode, ids: readonly number[], readAt: Timestamp) {
  const scanned = async (fragment: Partial<ScanFragment>) => {
    const rows: string[] = []
    const whole = { ...base, readAt, output: [2], ...fragment }
    for await (const part of node.scan(ids, whole, backgroundContext)) {
      part.rowIds.forEach((rowId, row) => {
        rows.push(`${rowId} ${part.batch.columns.map((column) => hexOf(column, row)).join()}`)
      })
    }
    return rows
  }
  const nearest = await node.search(ids, { ...search, readAt }, backgroundContext)
  const limited = await scanned({ limit: 15 })
  const counted = await node.aggregate(
    ids,
    { ...base, readAt, aggregates: counting },
    backgroundContext,
  )
  const all = await scanned({})
  expect(new Set(limited).size).toBe(Math.min(15, all.length))
  for (const row of limited) expect(all).toContain(row)
  return {
    nearest: [...nearest.rowIds],
    all: all.toSorted(),
    top: await scanned({ orderBy, limit: 25 }),
    count: counted.values[0]?.count,
  }
}

const segmentIndex = fc.nat(segmentCount - 1)
const nodeName = fc.constantFrom('a', 'b', 'c')
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('load' as const), at: segmentIndex }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      at: segmentIndex,
      rows: fc.array(fc.nat(19), { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('read' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), at: segmentIndex }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'restart' as const,
        'cut' as const,
        'remove' as const,
        'drain' as const,
      ),
      node: nodeName,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('assign' as const),
      at: segmentIndex,
      node: nodeName,
    }),
  },
)

test('VIEW-1: answers as one node that never fails, while nodes restart, vanish and drain', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(), async (steps, seed) => {
      let state = seed
      const trouble = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return state / 2 ** 32
      }
      const lives = new Map<string, Life>()
      const allLives: Life[] = []
      const placed = openPlacedQueryNodes({ runtime, replicaCount: 2, patienceMs: 5000 })
      const judge = startQueryNode({ native, objects, runtime } as Parameters<
        typeof startQueryNode
      >[0])
      const begin = (name: string) => {
        const life = new Life(trouble)
        lives.get(name)?.node.stop()
        lives.set(name, life)
        allLives.push(life)
        placed.putNode(name, life.replica)
      }
      begin('a')
      begin('b')
      const loaded = new Set<number>()
      let now = 10
      for (const next of steps) {
        if (next.kind === 'read' || next.kind === 'delete') now += 1
        if (next.kind === 'load') {
          const manifest = manifests[next.at]
          if (manifest === undefined) continue
          await Promise.all([placed.load(manifest, schema), judge.load(manifest, schema)])
          loaded.add(manifest.segmentId)
        } else if (next.kind === 'delete') {
          if (!loaded.has(next.at + 1)) continue
          const of = rowIds[next.at] ?? new Float64Array(0)
          const gone = Float64Array.from(
            [...new Set(next.rows)].filter((row) => row < of.length).sort((a, b) => a - b),
            (row) => of[row] ?? 0,
          )
          placed.applyDeletes(next.at + 1, gone, now as Timestamp)
          judge.applyDeletes(next.at + 1, gone, now as Timestamp)
          const fragment = { ...base, readAt: now as Timestamp, aggregates: counting }
          const ours = await placed.aggregate([next.at + 1], fragment, backgroundContext)
          const theirs = await judge.aggregate([next.at + 1], fragment, backgroundContext)
          expect(ours.values).toEqual(theirs.values)
        } else if (next.kind === 'release') {
          loaded.delete(next.at + 1)
          await Promise.all([placed.release(next.at + 1), judge.release(next.at + 1)])
        } else if (next.kind === 'read') {
          const ids = [...loaded].sort()
          const [ours, theirs] = await Promise.all([
            answers(placed, ids, now as Timestamp),
            answers(judge, ids, now as Timestamp),
          ])
          expect(ours).toEqual(theirs)
        } else if (next.kind === 'assign') {
          placed.assign(new Map([[next.at + 1, [next.node]]]))
        } else if (next.kind === 'restart') begin(next.node)
        else if (next.kind === 'drain') {
          if (lives.size > 1) void placed.drain(next.node)
        } else {
          const life = lives.get(next.node)
          if (life === undefined || lives.size === 1) continue
          life.isCut = true
          const others = [...lives.values()].filter((other) => !other.isCut)
          if (next.kind === 'remove' || others.length === 0) {
            placed.removeNode(next.node)
            lives.delete(next.node)
            if (![...lives.values()].some((other) => !other.isCut)) begin('a')
          }
        }
      }
      begin('a')
      const ids = [...loaded].sort()
      expect(await answers(placed, ids, now as Timestamp)).toEqual(
        await answers(judge, ids, now as Timestamp),
      )
      await placed.stop()
      await Promise.all([judge, ...allLives.map(({ node }) => node)].map((node) => node.stop()))
    }),
    { numRuns: 40, endOnFailure: true },
  )
}, 120_000)

async function openWith(names: readonly string[], replicaCount = 2) {
  const placed = openPlacedQueryNodes({ runtime, replicaCount, patienceMs: 2000 })
  const lives = new Map(names.map((name) => [name, new Life(() => 0.15)]))
  for (const [name, { replica }] of lives) placed.putNode(name, replica)
  for (const manifest of manifests) await placed.load(manifest, schema)
  return { placed, lives }
}

const settled = (placed: PlacedQueryNodes, wanted: (nodes: readonly string[]) => boolean) =>
  expect.poll(() => [...placed.placement().values()].every(wanted)).toBe(true)

test('who stands in for a node that does not answer keeps what it was given', async () => {
  const { placed, lives } = await openWith(['a', 'b'], 1)
  const ids = manifests.map(({ segmentId }) => segmentId)
  await settled(placed, (nodes) => nodes.length === 1)
  const [life] = lives.values()
  if (life !== undefined) life.isCut = true
  for (let n = 0; n < 5; n += 1) {
    const part = await placed.search(ids, { ...search, readAt: 9 as Timestamp }, backgroundContext)
    expect(part.rowIds).toHaveLength(search.k)
  }
  if (life !== undefined) life.isCut = false
  await settled(placed, (nodes) => nodes.length === 1)
  await placed.stop()
  for (const { node } of lives.values()) node.stop()
})

test('each segment is on as many nodes as there are replicas, and reads use all nodes', async () => {
  const { placed, lives } = await openWith(['a', 'b', 'c'])
  await settled(placed, (nodes) => nodes.length === 2)
  const ids = manifests.map(({ segmentId }) => segmentId)
  for (let n = 0; n < 5; n += 1) {
    await placed.search(ids, { ...search, readAt: 9 as Timestamp }, backgroundContext)
  }
  for (const { asked } of lives.values()) expect(asked.size).toBeGreaterThan(0)
  await placed.stop()
})

test('a drained node has nothing in the end, and reads go on meanwhile', async () => {
  const { placed, lives } = await openWith(['a', 'b', 'c'])
  await placed.drain('b')
  expect(lives.get('b')?.node.loaded()).toEqual([])
  await settled(placed, (nodes) => nodes.join() === 'a,c')
  await placed.stop()
})

test('a node that comes takes its part, one that goes leaves its part to the others', async () => {
  const { placed, lives } = await openWith(['a', 'b'], 1)
  const before = new Map(placed.placement())
  const life = new Life(() => 0.15)
  placed.putNode('c', life.replica)
  await settled(placed, (nodes) => nodes.length === 1)
  await expect.poll(() => life.node.loaded().length).toBeGreaterThan(0)
  for (const [segmentId, nodes] of placed.placement()) {
    if (!nodes.includes('c')) expect(nodes).toEqual(before.get(segmentId))
  }
  placed.removeNode('c')
  await settled(placed, (nodes) => nodes.length === 1 && nodes[0] !== 'c')
  expect(new Map(placed.placement())).toEqual(before)
  expect(lives.size).toBe(2)
  await placed.stop()
})

test('without a node that answers, reads wait and then say so; what all would say is said at once', async () => {
  const { placed, lives } = await openWith(['a', 'b'])
  const ids = manifests.map(({ segmentId }) => segmentId)
  const readAt = 9 as Timestamp
  const unknown = { ...base, readAt, output: [], keys: { indexOid: 77, values: [[null]] } }
  const scan = placed.scan(ids, unknown, backgroundContext)
  await expect(scan.next()).rejects.toMatchObject({ sqlState: '42704' })
  for (const life of lives.values()) life.isCut = true
  const reading = placed.search(ids, { ...search, readAt }, backgroundContext)
  await expect(reading).rejects.toMatchObject({ sqlState: '57P03' })
  const abort = new AbortController()
  const cancelled = placed.search(ids, { ...search, readAt }, { signal: abort.signal })
  abort.abort(new DatabaseError('57014', 'canceling statement due to user request'))
  await expect(cancelled).rejects.toMatchObject({ sqlState: '57014' })
  await placed.stop()
})

test('hashing spreads segments evenly and moves only what it must', () => {
  const counts = new Map<string, number>()
  let moved = 0
  for (let id = 1; id <= 3000; id += 1) {
    const [first = ''] = rankByHash(id, ['a', 'b', 'c'])
    counts.set(first, (counts.get(first) ?? 0) + 1)
    const [later = ''] = rankByHash(id, ['a', 'b', 'c', 'd'])
    if (later !== first) {
      expect(later).toBe('d')
      moved += 1
    }
  }
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(100)
  expect(Math.abs(moved - 750)).toBeLessThan(100)
})
