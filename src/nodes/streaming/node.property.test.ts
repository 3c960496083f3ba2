/**
 * Random transactions against a plain model, with crashes at any point: what was acknowledged is there, what was not is
 * there whole or not at all, and searches find what a plain loop over the model finds.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { StagedRows, StreamingNode } from '#nodes/streaming/contract.js'
import {
  batchOf,
  context,
  docs,
  noRows,
  tableId,
  vectorIndexOid,
  vectorOf,
  World,
} from '#nodes/streaming/streaming.testing.js'
import { noFault } from '#storage/faults.js'

const keyCount = 24
const key = fc.integer({ min: 0, max: keyCount - 1 })

type Step =
  | { readonly kind: 'insert'; readonly ids: readonly number[] }
  | { readonly kind: 'delete' | 'update'; readonly ids: readonly number[] }
  | { readonly kind: 'truncate'; readonly ids: readonly number[] }
  | {
      readonly kind: 'copy'
      readonly ids: readonly number[]
      readonly until: 'commit' | 'abort' | 'open'
    }
  | { readonly kind: 'commitCopy' }
  | {
      readonly kind: 'during'
      readonly job: 'flush' | 'checkpoint' | 'compact' | 'index'
      readonly writes: readonly { readonly afterMs: number; readonly step: Step }[]
    }
  | { readonly kind: 'flush' | 'checkpoint' | 'compact' | 'index' | 'background' }
  | { readonly kind: 'later'; readonly ms: number }
  | { readonly kind: 'refuse'; readonly ids: readonly number[] }
  | {
      readonly kind: 'crash'
      readonly during: 'rest' | 'commits' | 'flush' | 'compact'
      readonly ids: readonly number[]
      readonly afterMs: number
      readonly survivors: number
    }
  | { readonly kind: 'past'; readonly back: number }

const ids = fc.uniqueArray(key, { minLength: 1, maxLength: 6 })
const write: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    'insert' as const,
    'delete' as const,
    'update' as const,
    'truncate' as const,
  ),
  ids,
})
const during: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('during' as const),
  job: fc.constantFrom(
    'flush' as const,
    'checkpoint' as const,
    'compact' as const,
    'index' as const,
  ),
  writes: fc.array(fc.record({ afterMs: fc.nat(4), step: write }), { minLength: 1, maxLength: 4 }),
})
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: during },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), ids }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('delete' as const, 'update' as const), ids }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncate' as const), ids }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('copy' as const),
      ids,
      until: fc.constantFrom('commit' as const, 'abort' as const, 'open' as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'commitCopy' as const }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'flush' as const,
        'checkpoint' as const,
        'compact' as const,
        'index' as const,
        'background' as const,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('later' as const),
      ms: fc.constantFrom(1000, 100_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('refuse' as const), ids }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      during: fc.constantFrom(
        'rest' as const,
        'commits' as const,
        'flush' as const,
        'compact' as const,
      ),
      ids,
      afterMs: fc.nat(12),
      survivors: fc.nat(4),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('past' as const), back: fc.nat(4) }) },
)

/** id → name of the version that is there. */
type Model = ReadonlyMap<number, string>

class Run {
  readonly world: World
  model: Model = new Map()
  /** What was visible at acknowledged times, newest last; forgotten when old versions may be. */
  history: { readonly at: Timestamp; readonly model: Model }[] = []
  copies: { readonly staged: StagedRows; readonly rows: ReadonlyMap<number, string> }[] = []
  #version = 0

  constructor(world: World) {
    this.world = world
  }

  rowsFor(wanted: readonly number[]): ReadonlyMap<number, string> {
    this.#version += 1
    return new Map(wanted.map((id) => [id, `v${this.#version}`]))
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'insert': {
        const rows = this.rowsFor(step.ids)
        const clash = step.ids.some((id) => this.model.has(id))
        await this.#commit(clash ? '23505' : undefined, noRows, rows, false)
        return
      }
      case 'delete':
      case 'update': {
        const present = step.ids.filter((id) => this.model.has(id))
        if (present.length === 0) return
        const deletes = await this.world.rowIdsOf(...present)
        const rows = step.kind === 'update' ? this.rowsFor(present) : new Map<number, string>()
        await this.#commit(undefined, deletes, rows, false)
        return
      }
      case 'truncate':
        await this.#commit(undefined, noRows, this.rowsFor(step.ids), true)
        return
      case 'copy':
        await this.#copy(step.ids, step.until)
        return
      case 'commitCopy':
        await this.#commitCopy()
        return
      case 'during':
        await this.#during(step)
        return
      case 'flush':
        await this.world.node.flush(tableId, context)
        return
      case 'checkpoint':
        await this.world.node.flush(undefined, context)
        return
      case 'compact':
        await this.world.node.compact(tableId, context)
        return
      case 'index':
        await this.world.node.buildIndex(tableId, vectorIndexOid, () => {}, context)
        return
      case 'background':
        await this.world.node.runBackground()
        return
      case 'later':
        this.world.clockMs += step.ms
        if (step.ms > 60_000) this.history = []
        return
      case 'refuse': {
        const free = step.ids.filter((id) => !this.model.has(id))
        this.world.walFaults = () => ({ ...noFault, kind: 'refused' })
        await this.#commit('58030', noRows, this.rowsFor(free), false)
        this.world.walFaults = () => noFault
        return
      }
      case 'crash':
        await this.#crash(step)
        return
      case 'past': {
        const past = this.history.at(-1 - step.back)
        if (past !== undefined) expect(await this.visible(past.at)).toEqual(past.model)
        return
      }
    }
  }

  /** Writes while a slow job is under way. */
  async #during({ job, writes }: Step & { kind: 'during' }): Promise<void> {
    let lag = 0
    this.world.metaFaults = () => ({
      ...noFault,
      delayBeforeMs: lag++ % 3,
      delayAfterMs: lag++ % 2,
    })
    const done = this.take({ kind: job })
    for (const { afterMs, step: next } of writes) {
      await this.world.runtime.sleep(afterMs)
      await this.take(next)
      await this.check()
    }
    await done
    this.world.metaFaults = () => noFault
  }

  async visible(at?: Timestamp): Promise<Model> {
    const rows = await this.world.rows(at)
    const found = new Map(rows.map(({ id, name }) => [id, name ?? '']))
    expect(found.size).toBe(rows.length)
    return new Map([...found].sort(([a], [b]) => a - b))
  }

  #acknowledge(at: Timestamp, next: Model): void {
    this.model = new Map([...next].sort(([a], [b]) => a - b))
    this.history.push({ at, model: this.model })
  }

  #after(deleted: readonly number[], rows: Model, truncate: boolean): Model {
    const next = new Map(truncate ? [] : this.model)
    for (const id of deleted) next.delete(id)
    for (const [id, name] of rows) next.set(id, name)
    return next
  }

  async #commit(
    refusedWith: string | undefined,
    deletes: Float64Array,
    rows: Model,
    truncate: boolean,
  ): Promise<void> {
    const inserts = rows.size === 0 ? [] : [batchOf([...rows].map(([id, name]) => ({ id, name })))]
    const before = await this.world.rows()
    const deleted = before.filter(({ rowId }) => deletes.includes(rowId)).map(({ id }) => id)
    if (refusedWith !== undefined && rows.size === 0) return
    try {
      const at = await this.world.commit({ deletes, inserts, truncate })
      expect(refusedWith).toBeUndefined()
      this.#acknowledge(at, this.#after(deleted, rows, truncate))
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error
      expect(error.sqlState).toBe(refusedWith)
    }
  }

  async #copy(wanted: readonly number[], until: 'commit' | 'abort' | 'open'): Promise<void> {
    const staged = await this.world.node.stage(tableId, 0)
    const rows = this.rowsFor(wanted)
    const clash = wanted.some((id) => this.model.has(id))
    try {
      for (const [id, name] of rows) await staged.append(batchOf([{ id, name }]))
      expect(clash).toBe(false)
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error
      expect([clash, error.sqlState]).toEqual([true, '23505'])
      await staged.abort()
      return
    }
    if (until === 'abort') {
      await staged.abort()
      return
    }
    this.copies.push({ staged, rows })
    if (until === 'commit') await this.#commitCopy(this.copies.length - 1)
  }

  async #commitCopy(position = 0): Promise<void> {
    const [copy] = this.copies.splice(position, 1)
    if (copy === undefined) return
    const clash = [...copy.rows.keys()].some((id) => this.model.has(id))
    try {
      const at = await this.world.commit({}, { staged: [copy.staged] })
      expect(clash).toBe(false)
      this.#acknowledge(at, this.#after([], copy.rows, false))
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error
      expect([clash, error.sqlState]).toEqual([true, '23505'])
      await copy.staged.abort()
    }
  }

  /** The process dies while things are under way; what was not acknowledged may be there or not, each as a whole. */
  async #crash({
    during: moment,
    ids: wanted,
    afterMs,
    survivors,
  }: Step & { kind: 'crash' }): Promise<void> {
    const { world } = this
    const underWay: { readonly rows: Model; acknowledged: boolean }[] = []
    let lag = 0
    world.walFaults = () => ({ ...noFault, delayAfterMs: 2 + (lag++ % 3) })
    world.metaFaults = () => ({ ...noFault, delayBeforeMs: lag++ % 2, delayAfterMs: lag++ % 3 })
    const work: Promise<unknown>[] = []
    if (moment === 'flush') work.push(world.node.flush(undefined, context))
    if (moment === 'compact') work.push(world.node.compact(tableId, context))
    if (moment !== 'rest') {
      const free = wanted.filter((id) => !this.model.has(id))
      for (const id of free) {
        const rows = this.rowsFor([id])
        const commit = { rows, acknowledged: false }
        underWay.push(commit)
        const batch = batchOf([...rows].map(([rowKey, name]) => ({ id: rowKey, name })))
        work.push(
          world.commit({ inserts: [batch] }).then(() => {
            commit.acknowledged = true
          }),
        )
      }
    }
    for (const promise of work) promise.catch(() => {})
    await world.runtime.sleep(afterMs)
    world.crash((_, count) => Math.min(survivors, count))
    world.walFaults = () => noFault
    world.metaFaults = () => noFault
    this.copies = []
    await world.open({ segmentBytesMax: 2000, smallSegmentCountMax: 3, interimBytesMin: 0 })
    const found = await this.visible()
    const expected = new Map(this.model)
    for (const { rows, acknowledged } of underWay) {
      for (const [id, name] of rows) {
        if (acknowledged) expect(found.get(id)).toBe(name)
        if (found.get(id) === name) expected.set(id, name)
      }
    }
    expect(found).toEqual(new Map([...expected].sort(([a], [b]) => a - b)))
    this.#acknowledge(world.node.serviceTime(), found)
  }

  async check(): Promise<void> {
    expect(await this.visible()).toEqual(this.model)
    const query = vectorOf(keyCount / 2)
    const byDistance = [...this.model.keys()]
      .map((id) => ({ id, distance: distance(query, vectorOf(id)) }))
      .sort((a, b) => a.distance - b.distance)
    const nearest = await this.world.nearest(query, 5)
    expect(nearest.map((id) => distance(query, vectorOf(id)))).toEqual(
      byDistance.slice(0, 5).map((hit) => hit.distance),
    )
    const { liveRows } = await this.world.node.statistics(tableId)
    expect(liveRows).toBe(this.model.size)
  }
}

function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - (b[i] ?? 0)) ** 2, 0)
}

const index = {
  indexOid: vectorIndexOid,
  name: 'docs_embedding_idx',
  attnum: 3,
  metric: 'l2' as const,
  m: 8,
  efConstruction: 32,
}

/** @returns how many rows there are in the model, and what is told in the end */
async function play(
  taken: readonly Step[],
  tell: (node: StreamingNode) => Promise<number> = async () => 0,
): Promise<{ readonly size: number; readonly told: number }> {
  const world = await World.create()
  try {
    await world.open({ segmentBytesMax: 2000, smallSegmentCountMax: 3, interimBytesMin: 0 })
    await world.node.putTable({ ...docs, vectorIndexes: [index] })
    const run = new Run(world)
    for (const next of taken) {
      await run.take(next)
      await run.check()
    }
    expect(world.failures).toEqual([])
    return { size: run.model.size, told: await tell(world.node) }
  } finally {
    await world.close()
  }
}

const numRuns = Number(process.env['ELANUS_PROPERTY_RUNS'] ?? 60)

test('what was acknowledged is what is read, whatever happens between', {
  timeout: 2000 * numRuns,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 40 }), async (taken) => {
      await play(taken)
    }),
    { numRuns },
  )
})

/**
 * A COPY that stays open keeps the log from before a flush, which left out rows that were deleted long ago. After a crash their
 * deletes are replayed, and must not be counted as if the sealed segment held the rows (SEG-10).
 */
test('rows are counted right after a crash while a COPY was open over a flush', async () => {
  const run = await play(
    [
      { kind: 'copy', ids: [0], until: 'open' },
      // The flush closes the segment of the copy's row; these go into the next.
      {
        kind: 'during',
        job: 'flush',
        writes: [{ afterMs: 0, step: { kind: 'insert', ids: [0, 8, 1] } }],
      },
      { kind: 'delete', ids: [8] },
      { kind: 'later', ms: 100_000 },
      { kind: 'flush' },
      { kind: 'crash', during: 'rest', ids: [0], afterMs: 0, survivors: 0 },
    ],
    async (node) => (await node.statistics(tableId)).liveRows,
  )
  expect(run.told).toBe(run.size)
})
