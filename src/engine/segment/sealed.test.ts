import { tableFromIPC } from 'apache-arrow'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InvariantError } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { FilePlan } from '#engine/segment/arrow-file.js'
import { openDeletes, openSealedData } from '#engine/segment/read-sealed.js'
import { mergeRuns, wholeRun } from '#engine/segment/row-runs.js'
import {
  allKinds,
  type RandomRows,
  rowsArbitrary,
  tableSchema,
} from '#engine/segment/segment.arbitrary.js'
import {
  deletedRows,
  planDeletesFile,
  planSealedSegment,
  type SegmentInput,
} from '#engine/segment/write-sealed.js'

const schema = tableSchema(allKinds)

function inputOf(rows: RandomRows): SegmentInput {
  return {
    rowIds: rows.rowIds,
    inserted: rows.inserted,
    column(attnum) {
      const column = rows.batch.columns[attnum - 1]
      if (column === undefined) throw new InvariantError('TEST', `no column ${attnum}`)
      return column
    },
  }
}

function bytesOf(plan: FilePlan): Uint8Array {
  const bytes = new Uint8Array(plan.byteLength)
  let at = 0
  for (const piece of plan.pieces()) {
    bytes.set(piece, at)
    at += piece.byteLength
  }
  expect(at).toBe(plan.byteLength)
  return bytes
}

function datums(column: Column | undefined): (string | null)[] {
  if (column === undefined) return []
  return Array.from({ length: column.length }, (_, row) => {
    const datum = readDatum(column, row)
    return datum === null ? null : Buffer.from(datum).toString('hex')
  })
}

const noPause = async () => {}

describe('sealed files', () => {
  test('hold every kind and every NULL as they were', async () => {
    await fc.assert(
      fc.asyncProperty(rowsArbitrary(schema.columns), async (rows) => {
        const runs = wholeRun(rows.batch.rowCount)
        const plan = await planSealedSegment(7, 0, schema, [inputOf(rows)], runs, noPause)
        const data = openSealedData(bytesOf(plan.data))
        expect(data.rowCount).toBe(rows.batch.rowCount)
        expect([...data.rowIds]).toEqual([...rows.rowIds])
        expect([...data.inserted]).toEqual([...rows.inserted])
        schema.columns.forEach(({ attnum, kind }, position) => {
          const before = rows.batch.columns[position]
          const after = data.columns.get(attnum)
          expect(after?.kind).toBe(kind)
          expect(datums(after)).toEqual(datums(before))
          const nulls = datums(before).filter((datum) => datum === null).length
          expect(plan.columns[position]?.nullCount).toBe(nulls)
        })
      }),
      { numRuns: 100 },
    )
  })

  test('are what apache-arrow reads, with buffers at multiples of 64', async () => {
    await fc.assert(
      fc.asyncProperty(rowsArbitrary(schema.columns, 20), async (rows) => {
        const runs = wholeRun(rows.batch.rowCount)
        const plan = await planSealedSegment(7, 0, schema, [inputOf(rows)], runs, noPause)
        const bytes = bytesOf(plan.data)
        const table = tableFromIPC(bytes)
        expect(table.numRows).toBe(rows.batch.rowCount)
        expect(table.schema.fields.map(({ name }) => name)).toEqual([
          ...schema.columns.map(({ attnum }) => `a${attnum}`),
          '_rowid',
          '_inserted',
        ])
        const texts = rows.batch.columns[8]
        const expected = datums(texts).map((hex) =>
          hex === null ? null : Buffer.from(hex, 'hex').toString(),
        )
        expect([...(table.getChild('a9') ?? [])]).toEqual(expected)
        expect([...(table.getChild('_rowid') ?? [])]).toEqual([...rows.rowIds])
        for (const { column } of openColumns(bytes)) {
          if (column.length > 0) expect(column.values.byteOffset % 64).toBe(0)
        }
      }),
      { numRuns: 30 },
    )
  })

  test('damaged anywhere are refused or read within their bounds, never otherwise', async () => {
    const [rows] = fc.sample(rowsArbitrary(schema.columns, 30), { numRuns: 1, seed: 3 })
    if (rows === undefined) throw new Error('no sample')
    const runs = wholeRun(rows.batch.rowCount)
    const plan = await planSealedSegment(7, 0, schema, [inputOf(rows)], runs, noPause)
    const whole = bytesOf(plan.data)
    // Every byte, so that every length in the metadata becomes huge or negative once: none may be believed.
    for (let at = 0; at < whole.length; at += 1) {
      for (const flip of [0x01, 0x80, 0xff]) {
        const damaged = whole.slice()
        damaged[at] = (damaged[at] ?? 0) ^ flip
        try {
          openSealedData(damaged)
        } catch (error) {
          expect(error).toMatchObject({ sqlState: 'XX001' })
        }
      }
    }
    for (const size of [0, 8, 31, 100, whole.length - 1]) {
      expect(() => openSealedData(whole.slice(0, size))).toThrow(/segment is corrupted/)
    }
  })

  test('deletes come back', () => {
    const deletes = deletedRows(
      Float64Array.of(1, 5, 9, 12),
      Float64Array.of(Number.POSITIVE_INFINITY, 3, Number.POSITIVE_INFINITY, 8),
    )
    const read = openDeletes(bytesOf(planDeletesFile(7, deletes)))
    expect([...read.rowIds]).toEqual([5, 12])
    expect([...read.deleted]).toEqual([3, 8])
  })
})

function openColumns(bytes: Uint8Array): { column: Column }[] {
  return [...openSealedData(bytes).columns.values()].map((column) => ({ column }))
}

describe('merging', () => {
  test('keeps rows in row id order, drops the dropped, from interleaved inputs', async () => {
    const inputs = fc
      .uniqueArray(fc.integer({ min: 1, max: 300 }), { maxLength: 120 })
      .chain((ids) =>
        fc.record({
          ids: fc.constant(ids.toSorted((a, b) => a - b)),
          owners: fc.array(fc.nat(2), { minLength: ids.length, maxLength: ids.length }),
          dropped: fc.array(fc.boolean(), { minLength: ids.length, maxLength: ids.length }),
        }),
      )
    await fc.assert(
      fc.asyncProperty(inputs, async ({ ids, owners, dropped }) => {
        const parts = [0, 1, 2].map((owner) => {
          const mine = (keep: (i: number) => boolean) =>
            Float64Array.from(ids.filter((_, i) => owners[i] === owner && keep(i)))
          return { rowIds: mine(() => true), droppedRowIds: mine((i) => dropped[i] ?? false) }
        })
        const runs = mergeRuns(parts)
        const merged = await planSealedSegment(
          1,
          0,
          { ...schema, columns: [] },
          parts.map(({ rowIds }) => ({ rowIds, inserted: rowIds, column: () => neverColumn() })),
          runs,
          noPause,
        )
        const expected = ids.filter((_, i) => !dropped[i])
        const data = openSealedData(bytesOf(merged.data))
        expect([...data.rowIds]).toEqual(expected)
        expect(merged.rowCount).toBe(expected.length)
        if (expected.length > 0) {
          expect([merged.minRowId, merged.maxRowId]).toEqual([expected[0], expected.at(-1)])
          expect([merged.minTimestamp, merged.maxTimestamp]).toEqual([expected[0], expected.at(-1)])
        }
      }),
      { numRuns: 100 },
    )
  })

  test('joins the columns of its inputs', async () => {
    await fc.assert(
      fc.asyncProperty(
        rowsArbitrary(schema.columns, 15, 1),
        rowsArbitrary(schema.columns, 15, 100),
        async (first, second) => {
          const runs = mergeRuns([
            { rowIds: first.rowIds, droppedRowIds: first.rowIds.filter((id) => id % 3 === 0) },
            { rowIds: second.rowIds, droppedRowIds: new Float64Array(0) },
          ])
          const inputs = [inputOf(first), inputOf(second)]
          const plan = await planSealedSegment(7, 0, schema, inputs, runs, noPause)
          const data = openSealedData(bytesOf(plan.data))
          schema.columns.forEach(({ attnum }, position) => {
            const expected = [
              ...datums(first.batch.columns[position]).filter(
                (_, i) => (first.rowIds[i] ?? 0) % 3 !== 0,
              ),
              ...datums(second.batch.columns[position]),
            ]
            expect(datums(data.columns.get(attnum))).toEqual(expected)
          })
        },
      ),
      { numRuns: 60 },
    )
  })

  test('refuses a row id that lies in two inputs', () => {
    const part = { rowIds: Float64Array.of(1, 2), droppedRowIds: new Float64Array(0) }
    expect(() => mergeRuns([part, part])).toThrow(/SEG-2/)
  })
})

function neverColumn(): never {
  throw new InvariantError('TEST', 'no column asked for')
}
