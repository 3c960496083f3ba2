import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { backgroundContext } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { vectorDatum } from '#engine/columnar/read-datum.js'
import type { Metric, TableSchema } from '#engine/columnar/schema.js'
import { searchSegments } from '#engine/exec/search.js'
import { native } from '#engine/index/native.js'
import { plainNative } from '#engine/index/plain/plain-native.testing.js'
import { GrowingSegment } from '#engine/segment/growing.js'

const attnum = 1
const metrics: readonly Metric[] = ['l2', 'inner', 'cosine', 'l1']

function schemaOf(dimensions: number, metric: Metric): TableSchema {
  return {
    tableId: 1,
    incarnation: 1,
    version: 1,
    schemaName: 'public',
    name: 'docs',
    columns: [
      {
        attnum,
        name: 'embedding',
        typeOid: 1,
        typeName: 'vector',
        typmod: dimensions,
        kind: 'vector',
        width: dimensions,
        notNull: false,
        missing: null,
      },
    ],
    keys: [],
    vectorIndexes: [{ indexOid: 7, name: 'i', attnum, metric, m: 16, efConstruction: 64 }],
    shardCount: 1,
  }
}

/** Repeatable, unlike Math.random. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

class World {
  readonly schema: TableSchema
  readonly segment: GrowingSegment
  readonly random: () => number
  readonly dimensions: number
  readonly metric: Metric
  #time = 0
  #rowId = 0

  constructor(dimensions: number, metric: Metric, seed: number, engine = native) {
    this.dimensions = dimensions
    this.metric = metric
    this.schema = schemaOf(dimensions, metric)
    this.random = randomNumbers(seed)
    this.segment = new GrowingSegment({
      segmentId: 1,
      shard: 0,
      schema: this.schema,
      native: engine.createSegment(),
    })
  }

  /** Near one of some centres, as embeddings are. */
  vector(spread = 1): Float32Array {
    const centre = randomNumbers(Math.imul(1 + Math.floor(this.random() * 60), 0x9e3779b1))
    return Float32Array.from(
      { length: this.dimensions },
      () => (centre() - 0.5 + (this.random() + this.random() - 1) * 0.7) * spread,
    )
  }

  append(count: number, spread = 1, commit = true): void {
    const builder = createColumnBuilder('vector', this.dimensions)
    for (let i = 0; i < count; i += 1) {
      const kind = this.random()
      if (kind < 0.01) builder.appendDatum(null)
      else if (kind < 0.02 && this.metric === 'cosine')
        builder.appendDatum(vectorDatum(new Float32Array(this.dimensions)))
      else builder.appendDatum(vectorDatum(this.vector(spread)))
    }
    const stageId = this.#rowId
    const batch = { rowCount: count, columns: [builder.finish()] }
    this.segment.append(batch, [attnum], this.#rowId, stageId)
    this.#rowId += count
    this.#time += 1
    if (commit) this.segment.commitStage(stageId, this.#time as Timestamp)
  }

  delete(part: number): void {
    this.#time += 1
    for (let row = 0; row < this.segment.rowCount; row += 1) {
      if (this.random() < part) this.segment.deleteRow(row, this.#time as Timestamp)
    }
  }

  async extend(engine = native): Promise<void> {
    for (const index of this.segment.interim.due(this.segment, this.schema.vectorIndexes, 0)) {
      while (await this.segment.interim.extend(engine, this.segment, index));
    }
  }

  async search(mode: 'auto' | 'exact', query: Float32Array, k = 10, engine = native) {
    const part = await searchSegments(
      engine,
      [this.segment.readable()],
      {
        tableId: 1,
        shard: 0,
        readAt: this.#time as Timestamp,
        attnum,
        metric: this.metric,
        query,
        k,
        efSearch: 40,
        mode,
        output: [],
      },
      backgroundContext,
    )
    return {
      rowIds: [...part.rowIds],
      distances: [...part.distances],
      report: part.segments[0],
    }
  }

  async recall(queries: number): Promise<number> {
    let found = 0
    let wanted = 0
    for (let i = 0; i < queries; i += 1) {
      const query = this.vector()
      const exact = await this.search('exact', query)
      const { rowIds, distances } = await this.search('auto', query)
      expect(new Set(rowIds).size).toBe(rowIds.length)
      expect(rowIds).toHaveLength(exact.rowIds.length)
      // By distance: of rows that are equally far any will do.
      const farthest = exact.distances.at(-1) ?? 0
      found += distances.filter((distance) => distance <= farthest).length
      wanted += exact.rowIds.length
    }
    return found / wanted
  }
}

let world: World | undefined
afterEach(() => world?.segment.close())

describe('a graph over a growing segment', () => {
  it.each(metrics)(
    'finds what an exact search finds while rows come and go: %s',
    async (metric) => {
      world = new World(128, metric, 1)
      for (const step of [3000, 5000, 40, 900, 4000]) {
        world.append(step)
        await world.extend()
        world.append(100)
        expect(await world.recall(20)).toBeGreaterThanOrEqual(0.95)
        world.delete(0.02)
      }
      expect(world.segment.interim.covered(7)).toBe(world.segment.rowCount - 100)
      const { report } = await world.search('auto', world.vector())
      expect(report?.strategy).toBe('index')
      expect(report?.visited).toBeLessThan(world.segment.rowCount / 2)
      world.delete(0.5)
      expect(await world.recall(20)).toBeGreaterThanOrEqual(0.95)
    },
    60_000,
  )

  it.each(metrics)(
    'takes in rows far outside of what it has seen: %s',
    async (metric) => {
      world = new World(16, metric, 2)
      world.append(6000)
      await world.extend()
      for (const spread of [2, 5]) {
        world.append(2500, spread)
        await world.extend()
        expect(await world.recall(20)).toBeGreaterThanOrEqual(0.95)
      }
    },
    60_000,
  )

  it('waits for rows that may yet commit, and passes over those that never will', async () => {
    world = new World(8, 'l2', 3)
    world.append(500)
    world.append(500, 1, false)
    world.append(500)
    await world.extend()
    expect(world.segment.interim.covered(7)).toBe(500)
    world.segment.abortStage(500)
    await world.extend()
    expect(world.segment.interim.covered(7)).toBe(1500)
    const { rowIds } = await world.search('auto', world.vector(), 2000)
    expect(rowIds.every((rowId) => rowId < 500 || rowId >= 1000)).toBe(true)
    expect(await world.recall(20)).toBeGreaterThanOrEqual(0.95)
  })

  it('is searched while it is extended', async () => {
    world = new World(32, 'cosine', 4)
    world.append(4000)
    await world.extend()
    world.append(8000)
    let done = false
    const extending = world.extend().then(() => {
      done = true
    })
    // Three queries are too few to judge each look by itself.
    const recalls: number[] = []
    do recalls.push(await world.recall(3))
    while (!done)
    expect(
      recalls.reduce((sum, recall) => sum + recall, 0) / recalls.length,
    ).toBeGreaterThanOrEqual(0.9)
    await extending
    expect(await world.recall(20)).toBeGreaterThanOrEqual(0.95)
  }, 60_000)

  it('becomes the index of the sealed segment', async () => {
    world = new World(24, 'l2', 5)
    world.append(5000)
    await world.extend()
    world.append(700)
    world.segment.closed = true
    const [graph] = await world.segment.interim.finish(world.segment)
    expect(graph?.index.rowCount).toBe(5700)
    graph?.index.close()
  })

  it('that lags far behind is not finished: building anew is faster', async () => {
    world = new World(8, 'l2', 6)
    world.append(100)
    await world.extend()
    world.append(900)
    expect(await world.segment.interim.finish(world.segment)).toHaveLength(0)
  })

  it('answers as the plain one does where both are exact', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1000 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        async (seed, steps) => {
          const pair = [native, plainNative].map((engine) => ({
            engine,
            world: new World(4, 'l2', seed, engine),
          }))
          const answers: unknown[] = []
          for (const { engine, world: one } of pair) {
            for (const step of steps) {
              one.append(step)
              if (step % 2 === 0) await one.extend(engine)
              if (step % 3 === 0) one.delete(0.3)
            }
            const { rowIds } = await one.search('auto', one.vector(), 5, engine)
            answers.push({ rowIds, covered: one.segment.interim.covered(7) })
            one.segment.close()
          }
          expect(answers[0]).toEqual(answers[1])
        },
      ),
      { numRuns: 50 },
    )
  })
})
