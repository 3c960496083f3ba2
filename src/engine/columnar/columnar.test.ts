import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import {
  batchByteLength,
  concatBatches,
  emptyBatch,
  sliceBatch,
  takeRows,
} from '#engine/columnar/batch.js'
import { decodeBatch, encodeBatch } from '#engine/columnar/batch-codec.js'
import type { ColumnBatch, ColumnKind, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { encodeKey, hashKey, hashKey53, shardOf } from '#engine/columnar/key.js'
import { float32Datum, float64Datum, readDatum, vectorDatum } from '#engine/columnar/read-datum.js'

interface Shape {
  readonly kind: ColumnKind
  readonly width: number
}
const shapes: readonly Shape[] = [
  { kind: 'bool', width: 0 },
  { kind: 'int16', width: 0 },
  { kind: 'int32', width: 0 },
  { kind: 'int64', width: 0 },
  { kind: 'float32', width: 0 },
  { kind: 'float64', width: 0 },
  { kind: 'fixed', width: 16 },
  { kind: 'fixed', width: 3 },
  { kind: 'vector', width: 1 },
  { kind: 'vector', width: 5 },
  { kind: 'bytes', width: 0 },
]

function exactly(size: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: size, maxLength: size })
}

function datumOf({ kind, width }: Shape): fc.Arbitrary<Uint8Array> {
  switch (kind) {
    case 'bool':
      return fc.boolean().map((value) => new Uint8Array([value ? 1 : 0]))
    case 'int16':
      return exactly(2)
    case 'int32':
      return exactly(4)
    case 'int64':
      return exactly(8)
    case 'float32':
      return fc.float().map(float32Datum)
    case 'float64':
      return fc.double().map(float64Datum)
    case 'fixed':
      return exactly(width)
    case 'vector':
      return fc
        .array(fc.float(), { minLength: width, maxLength: width })
        .map((values) => vectorDatum(Float32Array.from(values)))
    case 'bytes':
      return fc.uint8Array({ maxLength: 80 })
  }
}

interface Table {
  readonly shapes: readonly Shape[]
  readonly datums: readonly (readonly Datum[])[]
  readonly batch: ColumnBatch
}

function batchOf(columns: readonly Shape[], datums: readonly (readonly Datum[])[]): ColumnBatch {
  return {
    rowCount: datums[0]?.length ?? 0,
    columns: columns.map(({ kind, width }, position) => {
      const builder = createColumnBuilder(kind, width, 1)
      for (const datum of datums[position] ?? []) builder.appendDatum(datum)
      return builder.finish()
    }),
  }
}

const table: fc.Arbitrary<Table> = fc
  .tuple(fc.nat(40), fc.array(fc.constantFrom(...shapes), { minLength: 1, maxLength: 6 }))
  .chain(([rowCount, columns]) =>
    fc
      .tuple(
        ...columns.map((shape) =>
          fc.array(fc.option(datumOf(shape), { nil: null, freq: 4 }), {
            minLength: rowCount,
            maxLength: rowCount,
          }),
        ),
      )
      .map((datums) => ({ shapes: columns, datums, batch: batchOf(columns, datums) })),
  )

function rowsOf(batch: ColumnBatch): Datum[][] {
  return batch.columns.map((column) =>
    Array.from({ length: batch.rowCount }, (_, row) => {
      const datum = readDatum(column, row)
      return datum === null ? null : datum.slice()
    }),
  )
}

describe('columns', () => {
  it('hand back the datums they were built from', () => {
    fc.assert(
      fc.property(table, ({ datums, batch }) => {
        expect(rowsOf(batch)).toEqual(datums)
      }),
    )
  })

  it('show rows appended later in the same buffers until the generation rises', () => {
    fc.assert(
      fc.property(table, ({ shapes: columns, datums }) => {
        columns.forEach(({ kind, width }, position) => {
          const builder = createColumnBuilder(kind, width, 4)
          let before = builder.view()
          let generation = builder.generation
          for (const datum of datums[position] ?? []) {
            builder.appendDatum(datum)
            const after = builder.view()
            const same =
              after.values === before.values &&
              after.validity === before.validity &&
              (after.kind !== 'bytes' ||
                before.kind !== 'bytes' ||
                after.offsets === before.offsets)
            expect(same).toBe(builder.generation === generation)
            before = after
            generation = builder.generation
          }
          expect(rowsOf({ rowCount: builder.length, columns: [builder.view()] })).toEqual([
            datums[position],
          ])
        })
      }),
    )
  })

  it('refuse bytes of a wrong size', () => {
    const wrong = (kind: ColumnKind, width: number, size: number) => () =>
      createColumnBuilder(kind, width).appendDatum(new Uint8Array(size))
    expect(wrong('int32', 0, 3)).toThrow('incorrect binary data format')
    expect(wrong('int64', 0, 7)).toThrow('incorrect binary data format')
    expect(wrong('vector', 3, 2)).toThrow('incorrect binary data format')
    expect(() =>
      createColumnBuilder('vector', 3).appendDatum(vectorDatum(new Float32Array(2))),
    ).toThrow('expected 3 dimensions, not 2')
  })
})

describe('batches', () => {
  it('slice, take and join like lists of rows', () => {
    fc.assert(
      fc.property(table, fc.nat(), fc.nat(), fc.array(fc.nat()), (made, a, b, picks) => {
        const { batch, datums } = made
        const from = a % (batch.rowCount + 1)
        const to = from + (b % (batch.rowCount - from + 1))
        const slice = sliceBatch(batch, from, to)
        const sliced = datums.map((column) => column.slice(from, to))
        expect(rowsOf(slice)).toEqual(sliced)
        const rest = sliceBatch(batch, to)
        expect(rowsOf(concatBatches([slice, rest, batch]))).toEqual(
          datums.map((column) => [...column.slice(from), ...column]),
        )
        expect(rowsOf(decodeBatch(encodeBatch(slice)))).toEqual(sliced)
        if (batch.rowCount === 0) return
        const rows = picks.map((pick) => pick % batch.rowCount)
        expect(rowsOf(takeRows(batch, Uint32Array.from(rows)))).toEqual(
          datums.map((column) => rows.map((row) => column[row])),
        )
      }),
    )
  })

  it('survive their byte form at any alignment, and equal rows give equal bytes', () => {
    fc.assert(
      fc.property(table, fc.nat(7), ({ batch, datums, shapes: columns }, shift) => {
        const bytes = encodeBatch(batch)
        expect(bytes.byteLength % 8).toBe(0)
        const shifted = new Uint8Array(bytes.byteLength + shift)
        shifted.set(bytes, shift)
        const decoded = decodeBatch(shifted.subarray(shift))
        expect(rowsOf(decoded)).toEqual(datums)
        expect(encodeBatch(decoded)).toEqual(bytes)
        expect(encodeBatch(batchOf(columns, datums))).toEqual(bytes)
        expect(batchByteLength(decoded)).toBe(batchByteLength(batch))
      }),
    )
  })

  it('refuse damaged bytes with XX001 or decode them to something readable', () => {
    fc.assert(
      fc.property(table, fc.nat(), fc.nat(255), fc.nat(), ({ batch }, at, value, cut) => {
        const bytes = encodeBatch(batch)
        const damaged = bytes.slice(
          0,
          bytes.byteLength - (cut % 3 === 0 ? cut % bytes.byteLength : 0),
        )
        if (damaged.byteLength > 0) damaged[at % damaged.byteLength] = value
        try {
          rowsOf(decodeBatch(damaged))
        } catch (error) {
          expect(error).toBeInstanceOf(DatabaseError)
          expect((error as DatabaseError).sqlState).toBe('XX001')
        }
      }),
      { numRuns: 500 },
    )
  })

  it('exist without rows', () => {
    const batch = emptyBatch(shapes)
    expect(decodeBatch(encodeBatch(batch))).toEqual(batch)
  })
})

describe('keys', () => {
  it('are equal exactly when the rows are', () => {
    fc.assert(
      fc.property(table, ({ batch, datums }) => {
        const keys = Array.from({ length: batch.rowCount }, (_, row) =>
          encodeKey(batch.columns, row),
        )
        const plain = Array.from({ length: batch.rowCount }, (_, row) =>
          JSON.stringify(datums.map((column) => column[row] ?? null)),
        )
        for (let i = 0; i < keys.length; i += 1) {
          for (let j = 0; j < i; j += 1) {
            if (plain[i] === plain[j]) expect(keys[i]).toBe(keys[j])
            else if (keys[i] === keys[j]) expectOnlyFloatsDiffer(batch, i, j)
          }
        }
      }),
    )
  })

  it('see 1.0 = 1.00 for numeric, ignore trailing spaces for char(n), and -0 = 0', () => {
    const numeric = (...words: number[]) => {
      const datum = new Uint8Array(words.length * 2)
      words.forEach((word, i) => {
        new DataView(datum.buffer).setInt16(2 * i, word)
      })
      return datum
    }
    const bytes = createColumnBuilder('bytes')
    bytes.appendDatum(numeric(1, 0, 0, 1, 1))
    bytes.appendDatum(numeric(2, 0, 0, 2, 1, 0))
    bytes.appendDatum(numeric(1, 1, 0, 1, 1))
    bytes.appendDatum(Buffer.from('ab  '))
    bytes.appendDatum(Buffer.from('ab'))
    const column = bytes.finish()
    const keyOf = (row: number, type: string) => encodeKey([column], row, [type])
    expect(keyOf(0, 'numeric')).toBe(keyOf(1, 'numeric'))
    expect(keyOf(0, 'numeric')).not.toBe(keyOf(2, 'numeric'))
    expect(keyOf(3, 'bpchar')).toBe(keyOf(4, 'bpchar'))
    expect(keyOf(3, 'text')).not.toBe(keyOf(4, 'text'))
    const floats = { kind: 'float64', length: 2, values: Float64Array.of(0, -0) } as const
    expect(encodeKey([floats], 0)).toBe(encodeKey([floats], 1))
  })

  it('spread over shards and hash as they always did', () => {
    const column = {
      kind: 'int64',
      length: 10_000,
      values: BigInt64Array.from({ length: 10_000 }, (_, i) => BigInt(i)),
    } as const
    const counts = [0, 0, 0, 0]
    const seen = new Set<number>()
    for (let row = 0; row < column.length; row += 1) {
      const key = encodeKey([column], row)
      const shard = shardOf(key, 4)
      counts[shard] = (counts[shard] ?? 0) + 1
      seen.add(hashKey53(key))
    }
    for (const count of counts) expect(Math.abs(count - 2500)).toBeLessThan(200)
    expect(seen.size).toBe(10_000)
    expect(hashKey('i42;')).toMatchInlineSnapshot(`3016194682`)
  })
})

function expectOnlyFloatsDiffer(batch: ColumnBatch, i: number, j: number): void {
  const rest = batch.columns.filter(
    ({ kind }) => kind !== 'float32' && kind !== 'float64' && kind !== 'vector',
  )
  for (const column of rest) expect(readDatum(column, i)).toEqual(readDatum(column, j))
}
