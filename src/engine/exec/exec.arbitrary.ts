/** Random rows as segments that native code searches, and the plain loops that judge what comes back. */
import fc from 'fast-check'
import { InvariantError } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'
import { native } from '#engine/index/native.js'
import type { FilterNode } from '#engine/plan/filter.js'
import { evaluateFilter } from '#engine/plan/filter-evaluate.js'
import { KeyIndex } from '#engine/segment/key-index.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'
import { type RandomRows, rowsArbitrary } from '#engine/segment/segment.arbitrary.js'

/** Some segments with disjoint, rising row ids. */
export function segmentsArbitrary(
  columns: readonly ColumnSchema[],
  segmentCountMax = 3,
): fc.Arbitrary<readonly RandomRows[]> {
  return fc
    .array(fc.constant(0), { minLength: 1, maxLength: segmentCountMax })
    .chain((places) => fc.tuple(...places.map((_, i) => rowsArbitrary(columns, 30, 1 + i * 1000))))
}

export const keyIndexOid = 77

/** @param keyAttnums columns of the one key the segment knows */
export function memorySegment(
  segmentId: number,
  rows: RandomRows,
  columns: readonly ColumnSchema[],
  keyAttnums: readonly number[] = [1],
): ReadableSegment {
  const handle = native.createSegment()
  handle.setTimestamps(rows.inserted, rows.deleted)
  const column = (attnum: number): Column => {
    const found = rows.batch.columns[columns.findIndex((schema) => schema.attnum === attnum)]
    if (found === undefined) throw new InvariantError('TEST', `no column ${attnum}`)
    return found
  }
  return {
    segmentId,
    stage: 'sealed',
    rowCount: rows.batch.rowCount,
    native: handle,
    rowIds: rows.rowIds,
    inserted: rows.inserted,
    deleted: rows.deleted,
    column,
    prepare: (attnums) => {
      for (const attnum of attnums) handle.setColumn(attnum, column(attnum))
    },
    keyIndex: (indexOid) => {
      if (indexOid !== keyIndexOid) return undefined
      const schemas = keyAttnums.flatMap((attnum) => columns.filter((c) => c.attnum === attnum))
      const index = new KeyIndex(schemas, false)
      index.extend(keyAttnums.map(column), rows.batch.rowCount)
      return index
    },
  }
}

/** One row, as a judge sees it. */
export interface JudgedRow {
  readonly rowId: number
  readonly segment: number
  readonly row: number
  readonly columns: ReadonlyMap<number, Column>
}

export interface Condition {
  readonly readAt: number
  readonly filter?: FilterNode | undefined
  readonly allowedRowIds?: Float64Array | undefined
  readonly excludedRowIds?: Float64Array | undefined
}

/** Rows that a fragment means, in row id order: the plain loop. */
export function judgeRows(
  parts: readonly RandomRows[],
  columns: readonly ColumnSchema[],
  { readAt, filter, allowedRowIds, excludedRowIds }: Condition,
): readonly JudgedRow[] {
  return parts.flatMap((rows, segment) => {
    const byAttnum = new Map(
      columns.flatMap(({ attnum }, i): [number, Column][] => {
        const column = rows.batch.columns[i]
        return column === undefined ? [] : [[attnum, column]]
      }),
    )
    return Array.from({ length: rows.batch.rowCount }, (_, row) => row)
      .filter((row) => (rows.inserted[row] ?? 0) <= readAt && readAt < (rows.deleted[row] ?? 0))
      .filter((row) => filter === undefined || evaluateFilter(filter, byAttnum, row) === true)
      .map((row) => ({ rowId: rows.rowIds[row] ?? 0, segment, row, columns: byAttnum }))
      .filter(({ rowId }) => allowedRowIds?.includes(rowId) ?? true)
      .filter(({ rowId }) => !(excludedRowIds?.includes(rowId) ?? false))
  })
}

export function hexOf(column: Column | undefined, row: number): string | null {
  const datum = column === undefined ? null : readDatum(column, row)
  return datum === null ? null : Buffer.from(datum).toString('hex')
}

/** Filters over columns of the kinds of allKinds, attribute numbers 1..9. */
export const filterArbitrary: fc.Arbitrary<FilterNode> = fc.letrec<{ node: FilterNode }>((tie) => {
  const comparison = fc.constantFrom('=', '<>', '<', '<=', '>', '>=' as const)
  const small = fc.integer({ min: -5, max: 5 })
  const compareNumber = fc.record({
    op: fc.constant('compare' as const),
    attnum: fc.constantFrom(2, 3, 5, 6),
    comparison,
    as: fc.constant('native' as const),
    value: small,
  })
  const compareInt64 = fc.record({
    op: fc.constant('compare' as const),
    attnum: fc.constant(4),
    comparison,
    as: fc.constant('native' as const),
    value: small.map(BigInt),
  })
  const compareText = fc.record({
    op: fc.constant('compare' as const),
    attnum: fc.constant(9),
    comparison,
    as: fc.constant('bytes' as const),
    value: fc.uint8Array({ maxLength: 4, min: 97, max: 99 }),
  })
  const isIn = fc.record({
    op: fc.constant('in' as const),
    attnum: fc.constant(3),
    as: fc.constant('native' as const),
    values: fc.array(small, { maxLength: 4 }),
    hasNull: fc.boolean(),
  })
  const isNull = fc.record({
    op: fc.constant('isNull' as const),
    attnum: fc.integer({ min: 1, max: 9 }),
  })
  const boolean = fc.constant<FilterNode>({ op: 'boolean', attnum: 1 })
  const args = fc.array(tie('node'), { maxLength: 3 })
  return {
    node: fc.oneof(
      { maxDepth: 3 },
      compareNumber,
      compareInt64,
      compareText,
      isIn,
      isNull,
      boolean,
      fc.record({ op: fc.constant('and' as const), args }),
      fc.record({ op: fc.constant('or' as const), args }),
      fc.record({ op: fc.constant('not' as const), arg: tie('node') }),
    ),
  }
}).node
