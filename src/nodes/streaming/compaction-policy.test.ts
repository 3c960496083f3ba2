import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { groupsToCompact } from '#nodes/streaming/compaction-policy.js'
import { defaultStreamingLimits as limits } from '#nodes/streaming/limits.js'
import { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'
import { docs } from '#nodes/streaming/streaming.testing.js'
import { createView, type SealedEntry } from '#nodes/streaming/view.js'

const rowBytes = 1024
const kibibyte = 1024

function entryOf(segmentId: number, minRowId: number, rowCount: number): SealedEntry {
  const object = { name: `${segmentId}`, bytes: rowCount * rowBytes, checksum: '' }
  const manifest: SegmentManifest = {
    formatVersion: 1,
    segmentId,
    tableId: docs.tableId,
    shard: 0,
    incarnation: docs.incarnation,
    rowCount,
    minRowId,
    maxRowId: minRowId + rowCount - 1,
    minTimestamp: 0,
    maxTimestamp: 0,
    data: object,
    indexes: [],
    columns: [],
  }
  return {
    segmentId,
    manifest,
    deletes: new SealedDeletes(),
    until: timestampMax,
    untilPosition: Number.POSITIVE_INFINITY,
  }
}

/** A table as the policy sees it: segments come, rows are deleted, merges are done as ordered. */
class History {
  entries: SealedEntry[] = []
  ingestedRows = 0
  rewrittenRows = 0
  #segmentId = 0
  #rowId = 1
  now = 1

  flush(rowCount: number): void {
    this.entries.push(entryOf(++this.#segmentId, this.#rowId, rowCount))
    this.#rowId += rowCount
    this.ingestedRows += rowCount
    this.settle()
  }

  /** A share of a segment's rows. */
  delete(which: number, part: number): void {
    const entry = this.entries[which % Math.max(1, this.entries.length)]
    if (entry === undefined) return
    const { minRowId, rowCount } = entry.manifest
    const count = Math.floor(rowCount * part)
    for (let i = 0; i < count; i += 1) entry.deletes.add(minRowId + i, this.now as Timestamp, 0)
    this.settle()
  }

  /** The retention passes. */
  pass(): void {
    this.now += 1
    this.settle()
  }

  /** Does what the policy says until it says nothing more. */
  settle(): void {
    const horizon = (this.now - 1) as Timestamp
    for (let round = 0; ; round += 1) {
      expect(round).toBeLessThan(1000)
      const view = createView([], this.entries)
      const [group] = groupsToCompact(view, docs, limits, 'background', horizon)
      if (group === undefined) return
      const first = this.entries.indexOf(group[0] as SealedEntry)
      expect(this.entries.slice(first, first + group.length)).toEqual(group)
      const merged = this.#merge(group, horizon)
      this.entries.splice(first, group.length, ...(merged === undefined ? [] : [merged]))
    }
  }

  #merge(group: readonly SealedEntry[], horizon: Timestamp): SealedEntry | undefined {
    let rowCount = 0
    const kept: number[] = []
    for (const { manifest, deletes } of group) {
      rowCount += manifest.rowCount - deletes.countUntil(horizon)
      for (const [, at] of deletes.entries()) if (at > horizon) kept.push(at)
    }
    if (rowCount === 0) return undefined
    this.rewrittenRows += rowCount
    const minRowId = group[0]?.manifest.minRowId ?? 0
    const merged = entryOf(++this.#segmentId, minRowId, rowCount)
    kept.forEach((at, i) => merged.deletes.add(minRowId + i, at as Timestamp, 0))
    return merged
  }
}

const size = fc.oneof(
  fc.integer({ min: 64, max: 200 }),
  fc.integer({ min: 64, max: 4000 }),
  fc.integer({ min: 64, max: (64 * kibibyte * kibibyte) / rowBytes }),
)
const step = fc.oneof(
  { weight: 20, arbitrary: fc.record({ kind: fc.constant('flush' as const), rows: size }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      which: fc.nat(),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const) }) },
)

describe('background compaction', () => {
  test('writes a row again a bounded number of times, and leaves few small segments', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 400 }), (steps) => {
        const history = new History()
        for (const one of steps) {
          if (one.kind === 'flush') history.flush(one.rows)
          else if (one.kind === 'delete') history.delete(one.which, one.part)
          else history.pass()
        }
        expect(history.rewrittenRows).toBeLessThanOrEqual(6 * history.ingestedRows)
      }),
      { numRuns: 60 },
    )
  }, 60_000)

  test('of equal segments leaves a logarithm of them', () => {
    const history = new History()
    for (let i = 0; i < 3000; i += 1) history.flush(100)
    expect(history.entries.length).toBeLessThanOrEqual(24)
    expect(history.rewrittenRows).toBeLessThanOrEqual(6 * history.ingestedRows)
  })

  test('does not rewrite a large segment for a small one beside it', () => {
    const history = new History()
    history.flush(60_000)
    for (let i = 0; i < 100; i += 1) history.flush(64)
    expect(history.entries[0]?.segmentId).toBe(1)
  })

  test('leaves rows that a read in the past may want, and does not try over and over', () => {
    const history = new History()
    history.flush(1000)
    history.delete(0, 0.5)
    expect(history.rewrittenRows).toBe(0)
    history.pass()
    expect(history.rewrittenRows).toBe(500)
    expect(history.entries[0]?.manifest.rowCount).toBe(500)
  })
})
