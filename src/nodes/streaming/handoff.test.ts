/**
 * Sealing, flushing, merging, index builds and collecting go on without a pause under writers and readers. Every read is
 * compared with what was acknowledged: no row twice, none missing, none that was deleted; searches with an exact one.
 */
import { afterEach, expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import {
  context,
  docs,
  insert,
  tableId,
  vectorIndexOid,
  vectorOf,
  World,
} from '#nodes/streaming/streaming.testing.js'

const runMs = Number(process.env['ELANUS_HANDOFF_SECONDS'] ?? '6') * 1000
const rowsPerCommit = 20
const schema = {
  ...docs,
  vectorIndexes: [
    {
      indexOid: vectorIndexOid,
      name: 'docs_embedding_idx',
      attnum: 3,
      metric: 'l2' as const,
      m: 8,
      efConstruction: 40,
    },
  ],
}

const world = await World.create()
afterEach(() => world.close())

test(
  'no duplicate, no gap, recall unchanged while segments change hands',
  async () => {
    await world.open({
      segmentBytesMax: 40_000,
      smallSegmentBytes: 30_000,
      smallSegmentCountMax: 3,
      interimBytesMin: 0,
      retentionMs: 200,
      orphanGraceMs: 50,
      logBytesMax: 20_000,
    })
    await world.node.putTable(schema)
    const until = Date.now() + runMs
    const isOver = () => Date.now() > until
    /** Acknowledged and not deleted, or being deleted. */
    const live = new Map<number, 'live' | 'going'>()
    let nextId = 0
    const counts = { commits: 0, reads: 0, jobs: 0, found: 0, wanted: 0 }

    async function write(): Promise<void> {
      while (!isOver()) {
        const ids = Array.from({ length: rowsPerCommit }, () => nextId++)
        await world.commit(insert(...ids.map((id) => ({ id, name: `doc ${id}` }))))
        for (const id of ids) live.set(id, 'live')
        counts.commits += 1
        // Memory stores and small searches answer in microtasks: others get their turn here.
        await systemRuntime.sleep(2)
        if (counts.commits % 2 !== 0) continue
        const going = [...live.keys()].filter((id) => id % 3 === counts.commits % 3).slice(0, 15)
        const deletes = await world.rowIdsOf(...going)
        expect(deletes).toHaveLength(going.length)
        for (const id of going) live.set(id, 'going')
        await world.commit({ deletes })
        for (const id of going) live.delete(id)
      }
    }

    async function scan(): Promise<void> {
      while (!isOver()) {
        const before = [...live].filter(([, state]) => state === 'live').map(([id]) => id)
        const began = new Set(live.keys())
        const highest = nextId
        const ids = await world.ids()
        expect(new Set(ids).size).toBe(ids.length)
        const seen = new Set(ids)
        // What is deleted while the scan runs may be there or not.
        expect(before.filter((id) => !seen.has(id) && live.get(id) === 'live')).toEqual([])
        expect(ids.filter((id) => id < highest - 2 * rowsPerCommit && !began.has(id))).toEqual([])
        counts.reads += 1
        await systemRuntime.sleep(5)
      }
    }

    async function search(): Promise<void> {
      while (!isOver()) {
        const readAt = world.node.serviceTime()
        const fragment = {
          tableId,
          shard: 0,
          readAt,
          attnum: 3,
          metric: 'l2' as const,
          query: vectorOf(Math.floor(nextId / 2)),
          k: 10,
          efSearch: 40,
          output: [1],
        }
        const exact = await world.node.search({ ...fragment, mode: 'exact' }, context)
        const found = await world.node.search({ ...fragment, mode: 'auto' }, context)
        expect(new Set(found.rowIds).size).toBe(found.rowIds.length)
        const truth = new Set(exact.rowIds)
        counts.found += found.rowIds.filter((rowId) => truth.has(rowId)).length
        counts.wanted += truth.size
        await systemRuntime.sleep(2)
      }
    }

    async function work(): Promise<void> {
      while (!isOver()) {
        await world.node.runBackground()
        if (counts.jobs % 5 === 1) await world.node.flush(tableId, context)
        if (counts.jobs % 11 === 7) await world.node.compact(tableId, context)
        counts.jobs += 1
      }
    }

    await Promise.all([write(), scan(), search(), search(), work()])
    expect(await world.ids()).toEqual([...live.keys()].sort((a, b) => a - b))
    expect(counts.found / counts.wanted).toBeGreaterThanOrEqual(0.95)
    // Everything had its turn.
    expect(Object.entries(counts).filter(([, count]) => count < 4)).toEqual([])
    await world.node.stop()
    await world.open()
    expect(await world.ids()).toEqual([...live.keys()].sort((a, b) => a - b))
  },
  runMs + 120_000,
)
