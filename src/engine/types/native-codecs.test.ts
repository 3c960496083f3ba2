/** The native codecs against their plain twins and, for COPY, against the embedded PostgreSQL. */
import { PGlite } from '@electric-sql/pglite'
import { vector } from '@electric-sql/pglite-pgvector'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import type { Column, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { type CopyColumn, type CopyTextOptions, native } from '#engine/index/native.js'
import { formatFloat4, formatFloat8 } from '#engine/types/float-text.js'
import { formatText } from '#engine/types/format-text.js'
import { parseText } from '#engine/types/parse-text.js'
import { columnKindOf } from '#engine/types/types.js'
import { formatVectorText, parseVectorText } from '#engine/types/vector-text.js'

let pg: PGlite
beforeAll(async () => {
  pg = await PGlite.create({ extensions: { vector } })
  await pg.exec('create extension vector')
})
afterAll(() => pg.close())

const bits64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((bits) => {
  const view = new DataView(new ArrayBuffer(8))
  view.setBigUint64(0, bits)
  return view.getFloat64(0)
})
const bits32 = fc.nat(0xffff_ffff).map((bits) => {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, bits)
  return view.getFloat32(0)
})
const powers = fc
  .tuple(fc.integer({ min: -149, max: 127 }), fc.nat(4096))
  .map(([power, tweak]) => Math.fround(2 ** power * (1 + tweak / 4096)))
const tens = fc
  .tuple(fc.nat(99_999), fc.integer({ min: -30, max: 33 }))
  .map(([digits, power]) => Number(`${digits}e${power}`))

function column(typeName: string, typmod = -1): CopyColumn {
  return { typeName, typmod, name: typeName, ...columnKindOf({ typeName, typmod }) }
}

describe('floats and vectors', () => {
  it('print like the twin', () => {
    fc.assert(
      fc.property(fc.oneof(bits32, powers, tens.map(Math.fround)), (value) => {
        expect(native.formatFloat4(value)).toBe(formatFloat4(value))
      }),
      { numRuns: 20_000 },
    )
    fc.assert(
      fc.property(fc.oneof(bits64, powers, tens), (value) => {
        expect(native.formatFloat8(value)).toBe(formatFloat8(value))
      }),
      { numRuns: 20_000 },
    )
  })

  it('print like PostgreSQL where the shortest decimal lies on the border of the interval', async () => {
    // Multiples of a power of ten around 2^24..2^63: many are midpoints of neighbouring float4.
    const values = fc.sample(
      fc
        .tuple(fc.nat(9_999_999), fc.integer({ min: 3, max: 12 }))
        .map(([digits, power]) => Math.fround(digits * 10 ** power)),
      5000,
    )
    const { rows } = await pg.query<{ text: string }>(
      `select v::float4::text as text from json_array_elements_text($1) with ordinality as v(v, n) order by n`,
      [JSON.stringify(values.map(String))],
    )
    expect(values.map(native.formatFloat4)).toEqual(rows.map((row) => row.text))
    const doubles = fc.sample(
      fc
        .tuple(fc.nat(2 ** 31 - 1), fc.integer({ min: 8, max: 23 }))
        .map(([digits, power]) => Number(`${digits}e${power}`)),
      5000,
    )
    const wide = await pg.query<{ text: string }>(
      `select v::float8::text as text from json_array_elements_text($1) with ordinality as v(v, n) order by n`,
      [JSON.stringify(doubles.map(String))],
    )
    expect(doubles.map(native.formatFloat8)).toEqual(wide.rows.map((row) => row.text))
  })

  it('parse vectors like the twin, words of errors included', () => {
    const element = fc.oneof(
      bits32.map(String),
      fc.stringMatching(/^[+-]?\d{0,12}\.?\d{0,12}(e[+-]?\d{1,2})?$/),
      fc.constantFrom('1', ' 2', '0.5 ', 'nan', 'inf', '1e39', '1e-60', '', 'x'),
    )
    const vectors = fc
      .tuple(
        fc.array(element, { maxLength: 6 }),
        fc.constantFrom('[', ' [', ''),
        fc.constantFrom(']', '] ', ']x', ''),
      )
      .map(([elements, open, close]) => open + elements.join(',') + close)
    fc.assert(
      fc.property(vectors, fc.constantFrom(-1, 3), (input, dimensions) => {
        const twin = outcome(() => parseVectorText(input, dimensions))
        if (twin === undefined) return
        expect(outcome(() => native.parseVector(Buffer.from(input), dimensions))).toEqual(twin)
        if (dimensions > 0) expect(outcome(() => parsedInside(input, dimensions))).toEqual(twin)
      }),
      { numRuns: 20_000 },
    )
    expect(() => native.parseVector(Buffer.from(`[${'1,'.repeat(16_000)}1]`), -1)).toThrow(
      'vector cannot have more than 16000 dimensions',
    )
    expect([...native.parseVector(Buffer.from('[0x1p3,1]'), 2)]).toEqual([8, 1])
    const into = (from: number, to: number, dimensions: number, at: number) => () =>
      native.parseVectorInto(Buffer.from('[1,2]'), from, to, dimensions, new Float32Array(3), at)
    expect(into(0, 5, 2, 1)).not.toThrow()
    for (const wrong of [into(0, 6, 2, 1), into(-1, 5, 2, 1), into(0, 5, 2, 2), into(0, 5, 0, 0)])
      expect(wrong).toThrow(RangeError)
  })

  it('print vectors like the twin', () => {
    fc.assert(
      fc.property(fc.float32Array({ minLength: 1, maxLength: 40 }), (values) => {
        expect(native.formatVector(values)).toBe(formatVectorText(values))
      }),
    )
  })
})

/** In the middle of a text, to the middle of an array; what is around it stays as it is. */
function parsedInside(input: string, dimensions: number): Float32Array {
  const values = new Float32Array(dimensions + 2).fill(77)
  const text = Buffer.from(`1${input}2`)
  try {
    native.parseVectorInto(text, 1, text.length - 1, dimensions, values, 1)
  } finally {
    expect([values[0], values[dimensions + 1]]).toEqual([77, 77])
  }
  return values.slice(1, dimensions + 1)
}

function outcome(parse: () => Float32Array | undefined): unknown {
  try {
    const values = parse()
    return values === undefined ? undefined : [...values]
  } catch (error) {
    if (error instanceof DatabaseError) return [error.sqlState, error.message]
    const { code, message } = error as { code: string; message: string }
    return [code, message]
  }
}

const text: CopyTextOptions = {
  format: 'text',
  delimiter: '\t',
  nullString: '\\N',
  quote: '"',
  escape: '"',
  utc: true,
}
const csv: CopyTextOptions = { ...text, format: 'csv', delimiter: ',', nullString: '' }

function rowsOf(columns: readonly Column[], typeNames: readonly string[], rowCount: number) {
  return Array.from({ length: rowCount }, (_, row) =>
    columns.map((one, i) => {
      const datum = readDatum(one, row, typeNames[i])
      return datum === null ? null : Buffer.from(datum).toString('hex')
    }),
  )
}

describe('COPY text and csv', () => {
  const types = ['int4', 'text', 'float8', 'bool'] as const
  const sends = ['int4send', 'textsend', 'float8send', 'boolsend'] as const

  /** What PostgreSQL makes of the bytes: rows as hex of send format, or the error. */
  async function judged(bytes: Buffer, options: string): Promise<unknown> {
    await pg.exec(
      'drop table if exists t; create table t (n serial, a int4, b text, c float8, d bool)',
    )
    try {
      await pg.query(`copy t (a, b, c, d) from '/dev/blob' with (${options})`, [], {
        blob: new Blob([bytes]),
      })
    } catch (error) {
      const { code, message } = error as { code: string; message: string }
      return { code, message }
    }
    const result = await pg.query<string[]>(
      `select ${['a', 'b', 'c', 'd'].map((name, i) => `encode(${sends[i]}(${name}), 'hex')`).join(', ')}
         from t order by n`,
      [],
      { rowMode: 'array' },
    )
    return result.rows
  }

  async function ours(bytes: Buffer, options: CopyTextOptions): Promise<unknown> {
    const columns = types.map((typeName, i) => ({ ...column(typeName), name: 'abcd'.charAt(i) }))
    const block = await native.parseCopyText(bytes, columns, options, true)
    // A textual column's own errors are for PostgreSQL to find, before those that come later here.
    if (block.textual.includes(true)) return undefined
    if (block.error) return { code: block.error.sqlState, message: block.error.message }
    return rowsOf(block.columns, types, block.rowCount)
  }

  const value = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('1', '-22', '\\N', '', 't', 'f', '0.5', 'abc', 'ä😀') },
    fc.constantFrom(
      '\\.',
      '\\t',
      '\\x41',
      '\\101',
      '\\\\',
      'a\\',
      '\\xff',
      '"',
      '""',
      '"a"',
      '"a""b"',
      '"x,y"',
      '"l\nm"',
      '"\\."',
      ' 7 ',
      '\r',
      '1_0',
    ),
    fc.string({ maxLength: 4 }).filter((one) => !one.includes('\0')),
  )
  const rowOf = (delimiter: string) =>
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc
          .tuple(
            fc.integer().map(String),
            value,
            fc.double().map(String),
            fc.constantFrom('t', 'f', 'yes', '0'),
          )
          .map((fields) => fields.join(delimiter)),
      },
      {
        weight: 1,
        arbitrary: fc.array(value, { maxLength: 6 }).map((fields) => fields.join(delimiter)),
      },
    )
  const fileOf = (delimiter: string) =>
    fc
      .tuple(
        fc.array(rowOf(delimiter), { maxLength: 5 }),
        fc.constantFrom('\n', '\r\n', '\r'),
        fc.boolean(),
        fc.constantFrom('', '', '', '\\.', '\\.\n'),
      )
      .map(([rows, newline, last, marker]) =>
        Buffer.from(rows.join(newline) + (last ? newline : '') + marker),
      )

  it.each([
    ['text', text, `format text`, '\t'],
    ['csv', csv, `format csv`, ','],
    [
      'csv with another escape',
      { ...csv, escape: '\\', quote: "'", delimiter: ';', nullString: 'NULL' },
      `format csv, escape '\\', quote '''', delimiter ';', null 'NULL'`,
      ';',
    ],
  ] as const)('%s reads as PostgreSQL reads it', async (_, options, words, delimiter) => {
    let decided = 0
    const files = fc.sample(fileOf(delimiter), 1200)
    for (const file of files) {
      const mine = await ours(file, options)
      if (mine === undefined) continue
      decided += 1
      expect({ file: file.toString('latin1'), outcome: mine }).toEqual({
        file: file.toString('latin1'),
        outcome: await judged(file, words),
      })
    }
    expect(decided).toBeGreaterThan(files.length * 0.8)
  })

  it('cut anywhere reads the same rows', async () => {
    const columns = types.map(column)
    const files = fc.sample(fileOf(','), 200)
    for (const file of files) {
      const whole = await native.parseCopyText(file, columns, csv, true)
      for (let cut = 0; cut <= file.length; cut += 1) {
        const first = await native.parseCopyText(file.subarray(0, cut), columns, csv, false)
        // Which newline the file has is decided by its first line: only whole files know.
        if (first.error) continue
        expect(first.rowCount).toBeLessThanOrEqual(whole.rowCount)
        expect(first.consumed).toBeLessThanOrEqual(cut)
      }
    }
  })

  it('leaves to PostgreSQL what it cannot decide, for the whole column of the block', async () => {
    const columns = [column('int4'), column('timestamptz'), column('json'), column('varchar', 7)]
    const input = Buffer.from('1\t2024-01-02 03:04:05\t1.5\tabc\n0x10\tyesterday\t\\N\t\\N\n')
    const block = await native.parseCopyText(input, columns, text, false)
    expect(block.textual).toEqual([true, true, true, false])
    expect(block.rowCount).toBe(2)
    expect(block.consumed).toBe(input.length)
    expect(Buffer.from(readDatum(block.columns[1] as Column, 1) ?? []).toString()).toBe('yesterday')
    expect(readDatum(block.columns[2] as Column, 1)).toBeNull()
    const fine = await native.parseCopyText(input.subarray(0, 34), columns, text, false)
    expect(fine.textual).toEqual([false, false, true, false])
  })

  it('says what is wrong, where, and keeps the rows before', async () => {
    const columns = [
      { ...column('int8'), name: 'id' },
      { ...column('vector', 3), name: 'embedding' },
    ]
    const failing = async (input: string | Buffer) => {
      const block = await native.parseCopyText(Buffer.from(input), columns, text, true)
      expect(block.rowCount).toBe(block.error?.row)
      const { row, column: at, sqlState, message } = block.error ?? {}
      return [row, at, sqlState, message]
    }
    expect(await failing('1\t[1,2,3]\n2\n')).toEqual([
      1,
      1,
      '22P04',
      'missing data for column "embedding"',
    ])
    expect(await failing('1\t[1,2,3]\tx\n')).toEqual([
      0,
      2,
      '22P04',
      'extra data after last expected column',
    ])
    expect(await failing('1\t[1,2]\n')).toEqual([0, 1, '22000', 'expected 3 dimensions, not 2'])
    expect(await failing('1\t[1,2,3]\nx\t[1,2,3]')).toEqual([
      1,
      0,
      '22P02',
      'invalid input syntax for type bigint: "x"',
    ])
    expect(await failing(Buffer.from('1\t[1,2,3]\n\xff', 'latin1'))).toEqual([
      1,
      2,
      '22021',
      'invalid byte sequence for encoding "UTF8": 0xff',
    ])
  })
})

const typesOfRows: readonly [string, number, fc.Arbitrary<string>][] = [
  ['bool', -1, fc.constantFrom('t', 'f')],
  ['int2', -1, fc.integer({ min: -32768, max: 32767 }).map(String)],
  ['int4', -1, fc.integer().map(String)],
  ['int8', -1, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)],
  ['oid', -1, fc.nat(0xffff_ffff).map(String)],
  ['float4', -1, bits32.filter(Number.isFinite).map((value) => value.toExponential(12))],
  ['float8', -1, bits64.filter(Number.isFinite).map(String)],
  ['text', -1, fc.string({ unit: 'grapheme' }).filter((one) => !one.includes('\0'))],
  [
    'bytea',
    -1,
    fc.uint8Array({ maxLength: 20 }).map((one) => `\\x${Buffer.from(one).toString('hex')}`),
  ],
  ['uuid', -1, fc.uuid()],
  [
    'date',
    -1,
    fc
      .date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date('9999-12-31') })
      .map((one) => one.toISOString().slice(0, 10)),
  ],
  ['time', -1, fc.nat(86_399_999).map((one) => new Date(one).toISOString().slice(11, 23))],
  [
    'timestamp',
    -1,
    fc
      .date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date('9999-12-31') })
      .map((one) => one.toISOString()),
  ],
  [
    'timestamptz',
    -1,
    fc
      .date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date('9999-12-31') })
      .map((one) => one.toISOString()),
  ],
  ['numeric', -1, fc.stringMatching(/^-?\d{0,13}(\.\d{1,12})$/)],
  ['numeric', ((20 << 16) | 5) + 4, fc.stringMatching(/^-?\d{1,15}(\.\d{0,5})$/)],
  [
    'vector',
    3,
    fc
      .float32Array({ minLength: 3, maxLength: 3, noNaN: true, noDefaultInfinity: true })
      .map((one) => `[${[...one].join(',')}]`),
  ],
]

interface Rows {
  readonly typeNames: readonly string[]
  readonly typmods: readonly number[]
  readonly datums: readonly (readonly Datum[])[]
  readonly columns: readonly Column[]
  readonly rowCount: number
}

const rowsOfTypes: fc.Arbitrary<Rows> = fc
  .tuple(fc.nat(12), fc.array(fc.constantFrom(...typesOfRows), { minLength: 1, maxLength: 6 }))
  .chain(([rowCount, chosen]) =>
    fc
      .tuple(
        ...chosen.map(([typeName, typmod, texts]) =>
          fc.array(
            fc.option(
              texts.map((one) => parseText(typeName, typmod, one) ?? null),
              { freq: 5 },
            ),
            { minLength: rowCount, maxLength: rowCount },
          ),
        ),
      )
      .map((datums) => ({
        typeNames: chosen.map(([typeName]) => typeName),
        typmods: chosen.map(([, typmod]) => typmod),
        datums,
        rowCount,
        columns: chosen.map(([typeName, typmod], i) => {
          const { kind, width } = columnKindOf({ typeName, typmod })
          const builder = createColumnBuilder(kind, width)
          for (const datum of datums[i] ?? []) builder.appendDatum(datum)
          return builder.view()
        }),
      })),
  )

describe('rows to clients and back', () => {
  it('DataRow messages hold each value’s text or send format', () => {
    fc.assert(
      fc.property(rowsOfTypes, fc.nat(1), fc.infiniteStream(fc.nat()), (rows, format, picks) => {
        const columns = rows.columns.map((one, i) => ({
          ...one,
          typeName: rows.typeNames[i] ?? '',
          format: format as 0 | 1,
        }))
        const ordinals =
          rows.rowCount === 0
            ? undefined
            : Uint32Array.from({ length: 5 }, () => picks.next().value % rows.rowCount)
        const bytes = native.encodeDataRows(columns, rows.rowCount, ordinals)
        const expected: Buffer[] = []
        for (const row of ordinals ?? Array.from({ length: rows.rowCount }, (_, i) => i)) {
          const fields = rows.typeNames.map((typeName, i) => {
            const datum = rows.datums[i]?.[row] ?? null
            if (datum === null) return Buffer.from([255, 255, 255, 255])
            const value = format === 1 ? datum : Buffer.from(formatText(typeName, datum) ?? '?')
            const size = Buffer.alloc(4)
            size.writeInt32BE(value.byteLength)
            return Buffer.concat([size, value])
          })
          const body = Buffer.concat(fields)
          const header = Buffer.alloc(7)
          header.write('D')
          header.writeInt32BE(body.length + 6, 1)
          header.writeInt16BE(rows.typeNames.length, 5)
          expected.push(header, body)
        }
        expect(Buffer.from(bytes).equals(Buffer.concat(expected))).toBe(true)
      }),
    )
  })

  it('COPY out and in again is the same, in all three formats', async () => {
    await fc.assert(
      fc.asyncProperty(rowsOfTypes, async (rows) => {
        const named = rows.columns.map((one, i) => ({ ...one, typeName: rows.typeNames[i] ?? '' }))
        const wanted = rows.typeNames.map((typeName, i) => column(typeName, rows.typmods[i]))
        const before = rowsOf(rows.columns, rows.typeNames, rows.rowCount)
        const binary = native.encodeCopyBinary(named, rows.rowCount)
        const block = await native.parseCopyBinary(binary, wanted, true)
        expect(block.error).toBeUndefined()
        expect(block.consumed).toBe(binary.byteLength)
        expect(rowsOf(block.columns, rows.typeNames, block.rowCount)).toEqual(before)
        for (const options of [text, csv]) {
          const lines = native.encodeCopyText(named, rows.rowCount, options)
          const again = await native.parseCopyText(lines, wanted, options, true)
          expect(again.error).toBeUndefined()
          expect(again.rowCount).toBe(rows.rowCount)
          again.columns.forEach((one, i) => {
            const typeName = rows.typeNames[i] ?? ''
            const datums = Array.from({ length: again.rowCount }, (_, row) => {
              const datum = readDatum(one, row, typeName)
              if (datum === null || again.textual[i] !== true) return datum
              return (
                parseText(typeName, rows.typmods[i] ?? -1, Buffer.from(datum).toString()) ?? null
              )
            })
            expect(datums.map(hex)).toEqual((rows.datums[i] ?? []).map(hex))
          })
        }
      }),
    )
  })

  it('COPY TO text and csv write what PostgreSQL writes', async () => {
    const value = fc.option(
      fc.oneof(
        fc.string({ unit: 'grapheme', maxLength: 6 }).filter((one) => !one.includes('\0')),
        fc.constantFrom('\\.', '\\N', '', 'a\tb', 'x\ny', '\\', '"', ',', '\b\f\r\v', "it's"),
      ),
    )
    const values = fc.sample(value, 400)
    await pg.exec('drop table if exists o; create table o (n int4, v text)')
    await pg.query(
      `insert into o select n, v #>> '{}' from json_array_elements($1) with ordinality as v(v, n)`,
      [JSON.stringify(values)],
    )
    const builder = createColumnBuilder('bytes')
    for (const one of values) builder.appendDatum(one === null ? null : Buffer.from(one))
    const both = [
      { ...createIntegers(values.length), typeName: 'int4' },
      { ...builder.finish(), typeName: 'text' },
    ]
    for (const [list, columns] of [
      ['n, v', both],
      ['v', both.slice(1)],
    ] as const) {
      for (const options of [text, csv]) {
        const { blob } = await pg.query(
          `copy (select ${list} from o order by n) to '/dev/blob' with (format ${options.format})`,
        )
        const theirs = Buffer.from((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)).toString()
        expect(Buffer.from(native.encodeCopyText(columns, values.length, options)).toString()).toBe(
          theirs,
        )
      }
    }
  })
})

function createIntegers(count: number): Column {
  return {
    kind: 'int32',
    length: count,
    values: Int32Array.from({ length: count }, (_, i) => i + 1),
  }
}

function hex(datum: Datum): string | null {
  return datum === null ? null : Buffer.from(datum).toString('hex')
}

describe('hostile bytes', () => {
  const columns = typesOfRows.map(([typeName, typmod]) => column(typeName, typmod))

  it('never crash the parsers', async () => {
    const bytes = fc.uint8Array({ maxLength: 200 })
    await fc.assert(
      fc.asyncProperty(bytes, fc.boolean(), async (input, final) => {
        for (const options of [text, csv]) {
          const block = await native.parseCopyText(input, columns, options, final)
          expect(block.consumed).toBeLessThanOrEqual(input.length)
        }
        const block = await native.parseCopyBinary(input, columns, final)
        expect(block.consumed).toBeLessThanOrEqual(input.length)
        outcome(() => native.parseVector(input, -1))
      }),
      { numRuns: 1000 },
    )
  })

  it('never crash when valid tuples are damaged or cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        rowsOfTypes,
        fc.nat(),
        fc.nat(255),
        fc.nat(),
        async (rows, at, byte, cut) => {
          const named = rows.columns.map((one, i) => ({
            ...one,
            typeName: rows.typeNames[i] ?? '',
          }))
          const wanted = rows.typeNames.map((typeName, i) => column(typeName, rows.typmods[i]))
          const binary = native.encodeCopyBinary(named, rows.rowCount)
          if (binary.length === 0) return
          const cutOff = await native.parseCopyBinary(
            binary.subarray(0, cut % binary.length),
            wanted,
          )
          expect(cutOff.error).toBeUndefined()
          binary[at % binary.length] = byte
          const block = await native.parseCopyBinary(binary, wanted)
          expect(block.columns.every((one) => one.length === block.rowCount)).toBe(true)
          rowsOf(block.columns, rows.typeNames, block.rowCount)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('columns that lie about their size are refused', () => {
    const bad = { kind: 'int32', length: 10, values: new Int32Array(3), typeName: 'int4' } as const
    expect(() => native.encodeCopyBinary([bad], 10)).toThrow('values: shorter than the column')
    const offsets = Int32Array.of(0, 100)
    const bytes = {
      kind: 'bytes',
      length: 1,
      values: new Uint8Array(3),
      offsets,
      typeName: 'text',
    } as const
    expect(() => native.encodeCopyBinary([bytes], 1)).toThrow(
      'offsets of a column are out of bounds',
    )
    expect(() => native.encodeCopyBinary([{ ...bad, length: 3 }], 3, Uint32Array.of(3))).toThrow(
      'ordinal out of range',
    )
  })
})
