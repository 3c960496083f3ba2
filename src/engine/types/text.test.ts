import { PGlite } from '@electric-sql/pglite'
import { vector } from '@electric-sql/pglite-pgvector'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { formatText } from '#engine/types/format-text.js'
import { parseText } from '#engine/types/parse-text.js'
import { type Judged, judge, judgeOneByOne } from '#engine/types/text.conformance.js'

let pg: PGlite
beforeAll(async () => {
  pg = await PGlite.create({ extensions: { vector } })
  await pg.exec('create extension vector; set bytea_output = hex; set extra_float_digits = 1')
})
afterAll(() => pg.close())

/** Our answer must be PostgreSQL's, or none. @returns how many were answered natively. */
function compare(typeName: string, typmod: number, judged: readonly Judged[]): number {
  let native = 0
  for (const { text, hex, output, error } of judged) {
    let datum: Uint8Array | undefined
    try {
      datum = parseText(typeName, typmod, text)
    } catch (thrown) {
      if (!(thrown instanceof DatabaseError)) throw thrown
      expect({ text, error: { sqlState: thrown.sqlState, message: thrown.message } }).toEqual({
        text,
        error,
      })
      native += 1
      continue
    }
    if (datum !== undefined) {
      expect({ text, hex: Buffer.from(datum).toString('hex') }).toEqual({ text, hex })
      native += 1
    }
    if (hex !== undefined) {
      const formatted = formatText(typeName, Buffer.from(hex, 'hex'))
      expect({ text, formatted }).toEqual({ text, formatted: output })
    }
  }
  return native
}

function sample(arbitrary: fc.Arbitrary<string>, count: number): string[] {
  return fc.sample(arbitrary, count)
}

const garbage = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    'abc',
    '1.2.3',
    '--1',
    '1e',
    'e1',
    '.',
    '+',
    '-',
    '[',
    'null',
    '0x1f',
    '1_000',
  ),
  fc.string({ maxLength: 8 }).filter((text) => !text.includes('\0')),
)
const integer = (bits: number) =>
  fc.oneof(
    fc.bigInt({ min: -(2n ** BigInt(bits)), max: 2n ** BigInt(bits) }).map(String),
    fc.bigInt({ min: -300n, max: 300n }).map((value) => ` ${value < 0n ? '' : '+'}${value} `),
    garbage,
  )
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
const floatText = (bits: fc.Arbitrary<number>) =>
  fc.oneof(
    bits.map((value) => value.toExponential(Number.isFinite(value) ? 20 : 0)),
    bits.map(String),
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 }).map(String),
    fc.tuple(fc.nat(99_999), fc.integer({ min: -60, max: 60 })).map(([a, b]) => `${a}e${b}`),
    fc.tuple(fc.integer(), fc.nat(999_999)).map(([a, b]) => `${a}.${b}`),
    fc.nat(1100).map((power) => String(2 ** power)),
    garbage,
    fc.constantFrom(
      'NaN',
      'inf',
      '-Infinity',
      '1e400',
      '1e-400',
      '1e39',
      '1e-50',
      '0e-400',
      '1e23',
      '-0',
    ),
  )
const dateText = fc.oneof(
  fc
    .tuple(fc.nat(11_000), fc.nat(13), fc.nat(32))
    .map(([y, m, d]) =>
      [String(y).padStart(4, '0'), String(m).padStart(2, '0'), String(d).padStart(2, '0')].join(
        '-',
      ),
    ),
  fc
    .date({ noInvalidDate: true, min: new Date('0001-01-01'), max: new Date('9999-12-31') })
    .map((date) => date.toISOString().slice(0, 10)),
  fc.constantFrom(
    'infinity',
    '-infinity',
    '0044-03-15 BC',
    '20240229',
    '12345-01-01',
    '4713-11-24 BC',
  ),
)
const timeOfDay = fc
  .tuple(
    fc.nat(24),
    fc.nat(60),
    fc.nat(60),
    fc.option(fc.stringMatching(/^\.\d{1,6}$/), { nil: '' }),
  )
  .map(([h, m, s, f]) => `${[h, m, s].map((part) => String(part).padStart(2, '0')).join(':')}${f}`)
const zone = fc.oneof(
  fc.constantFrom('', '', 'Z', '+00', '-08', '+05:30', ' +02', '+1530', '-16:00', ' UTC', ' BC'),
)
const momentText = fc.oneof(
  fc.tuple(dateText, fc.constantFrom(' ', 'T'), timeOfDay, zone).map((parts) => parts.join('')),
  dateText,
)

describe('text and binary are what PostgreSQL says', () => {
  const cases: [string, number, string, fc.Arbitrary<string>, string?, string?][] = [
    [
      'bool',
      -1,
      'boolsend',
      fc.oneof(
        fc.constantFrom('t', 'TRUE', ' off', 'of', 'o', 'on', 'yes', 'n', '1', '0', 'tru', 'truex'),
        garbage,
      ),
    ],
    ['int2', -1, 'int2send', integer(16)],
    ['int4', -1, 'int4send', integer(32)],
    ['int8', -1, 'int8send', integer(65)],
    ['oid', -1, 'oidsend', fc.oneof(integer(32), fc.nat(0xffff_ffff).map(String))],
    ['float4', -1, 'float4send', floatText(bits32)],
    ['float8', -1, 'float8send', floatText(bits64)],
    [
      'text',
      -1,
      'textsend',
      fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
    ],
    [
      'name',
      -1,
      'namesend',
      fc.string({ unit: 'grapheme', maxLength: 80 }).filter((text) => !text.includes('\0')),
    ],
    [
      'uuid',
      -1,
      'uuid_send',
      fc.oneof(
        fc.uuid(),
        fc.uuid().map((id) => `{${id.replaceAll('-', '')}}`),
        fc.uuid().map((id) => id.toUpperCase().replace('-', '')),
        garbage,
      ),
    ],
    [
      'bytea',
      -1,
      'byteasend',
      fc.oneof(
        fc.uint8Array().map((bytes) => `\\x${Buffer.from(bytes).toString('hex')}`),
        fc.constantFrom('\\x1', '\\xzz', 'abc', 'a\\\\b', '\\001', '\\x 12 34'),
        garbage,
      ),
    ],
    [
      'json',
      -1,
      'json_send',
      fc.oneof(
        fc.json(),
        fc.json({}).map((text) => ` ${text}\n`),
        garbage,
      ),
    ],
    ['date', -1, 'date_send', dateText],
    ['time', -1, 'time_send', timeOfDay],
    ['timestamp', -1, 'timestamp_send', momentText],
    ['timestamptz', -1, 'timestamptz_send', momentText],
    [
      'numeric',
      -1,
      'numeric_send',
      fc.oneof(
        fc.stringMatching(/^-?\d{1,30}(\.\d{0,30})?$/),
        fc.stringMatching(/^0{0,9}\.0{0,9}\d{1,5}0{0,9}$/),
        fc.stringMatching(/^\d{1,4}0{1,12}$/),
        fc.constantFrom('NaN', 'inf', '-Infinity', '1e10', '1.5e-7', '-0', '-0.00', '.', '5.'),
        garbage,
      ),
    ],
    [
      'numeric(10,2)',
      ((10 << 16) | 2) + 4,
      'numeric_send',
      fc.oneof(
        fc.stringMatching(/^-?\d{1,9}(\.\d{0,3})?$/),
        fc.constantFrom('NaN', '-0', '1.005', '99999999.99', '100000000', 'x'),
      ),
      `numeric_in(textout(t), 0, ${((10 << 16) | 2) + 4})`,
      'numeric',
    ],
    [
      'varchar(5)',
      9,
      'varcharsend',
      fc
        .oneof(
          fc.string({ unit: 'grapheme', maxLength: 8 }),
          fc.stringMatching(/^[aä😀]{2,5} {0,4}$/u),
        )
        .filter((text) => !text.includes('\0')),
      'varcharin(textout(t), 0, 9)',
      'varchar',
    ],
    [
      'char(5)',
      9,
      'bpcharsend',
      fc
        .oneof(
          fc.string({ unit: 'grapheme', maxLength: 8 }),
          fc.stringMatching(/^[aä😀]{2,5} {0,4}$/u),
        )
        .filter((text) => !text.includes('\0')),
      'bpcharin(textout(t), 0, 9)',
      'bpchar',
    ],
    [
      'timestamp(2)',
      2,
      'timestamp_send',
      momentText,
      'timestamp_in(textout(t), 0, 2)',
      'timestamp',
    ],
  ]
  it.each(cases)('%s', async (typeName, typmod, send, texts, input, name) => {
    const judged = await judge(pg, typeName, send, sample(texts, 3000), input ?? `t::${typeName}`)
    const native = compareFor(name ?? typeName, typmod, judged)
    expect(native).toBeGreaterThan(judged.length / 3)
  })

  function compareFor(name: string, typmod: number, judged: readonly Judged[]): number {
    // A cast to text is not the output function for these: char(n) loses its padding, bool is 'true'.
    if (name === 'bool') {
      return compare(
        name,
        typmod,
        judged.map((one) => ({ ...one, ...(one.output && { output: one.output.charAt(0) }) })),
      )
    }
    if (name !== 'bpchar') return compare(name, typmod, judged)
    return compare(
      name,
      typmod,
      judged.map((one) =>
        one.hex === undefined ? one : { ...one, output: Buffer.from(one.hex, 'hex').toString() },
      ),
    )
  }

  it('jsonb and escape bytea output', async () => {
    const texts = sample(fc.json(), 500).filter((text) => !text.includes('\\u0000'))
    expect(compare('jsonb', -1, await judge(pg, 'jsonb', 'jsonb_send', texts))).toBe(0)
    const bytes = fc.sample(fc.uint8Array(), 300)
    await pg.exec('set bytea_output = escape')
    const judged = await judge(
      pg,
      'bytea',
      'byteasend',
      bytes.map((b) => `\\x${Buffer.from(b).toString('hex')}`),
    )
    await pg.exec('set bytea_output = hex')
    for (const { hex = '', output } of judged) {
      expect(
        formatText('bytea', Buffer.from(hex, 'hex'), {
          dateStyle: 'ISO',
          timeZone: 'UTC',
          extraFloatDigits: 1,
          byteaOutput: 'escape',
        }),
      ).toBe(output)
    }
  })

  it('floats with fewer digits', async () => {
    for (const extraFloatDigits of [0, -3, -15]) {
      await pg.exec(`set extra_float_digits = ${extraFloatDigits}`)
      for (const [type, bits] of [
        ['float4', bits32],
        ['float8', bits64],
      ] as const) {
        const texts = sample(
          bits.filter(Number.isFinite).map((v) => v.toExponential(20)),
          500,
        )
        for (const { text, hex = '', output } of await judge(pg, type, `${type}send`, texts)) {
          const formatted = formatText(type, Buffer.from(hex, 'hex'), {
            dateStyle: 'ISO',
            timeZone: 'UTC',
            extraFloatDigits,
            byteaOutput: 'hex',
          })
          expect({ text, formatted }).toEqual({ text, formatted: output })
        }
      }
    }
    await pg.exec('set extra_float_digits = 1')
  })

  it('vectors', async () => {
    const element = fc.oneof(
      bits32.filter(Number.isFinite).map(String),
      fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value.toExponential(9)),
      fc.float({ min: -1, max: 1, noNaN: true }).map(String),
    )
    const good = fc
      .tuple(fc.array(element, { minLength: 1, maxLength: 12 }), fc.constantFrom(',', ', ', ' ,\t'))
      .map(([elements, comma]) => `[${elements.join(comma)}]`)
    const bad = fc.oneof(
      fc.constantFrom(
        '[]',
        '[ ]',
        '',
        '[1,,2]',
        '[1e39]',
        '[nan]',
        '[-inf]',
        '[1 2]',
        '[1,2',
        '[1]x',
        ' [ 1 ] ',
        '[1e]',
        '[1,]',
        '[',
        '[nan(1)]',
        '[1e-60]',
        '[infin]',
        `[${'1,'.repeat(16_000)}1]`,
        `[${'1,'.repeat(15_999)}1]`,
      ),
      fc
        .tuple(good, fc.nat(40), fc.constantFrom('x', ',', '[', ']', ' ', 'e', '.'))
        .map(([text, at, insert]) => text.slice(0, at) + insert + text.slice(at)),
    )
    const judged = await judgeOneByOne(pg, 'vector', 'vector_send', [
      ...sample(good, 1500),
      ...sample(bad, 800),
    ])
    // '[0x…' is left to PostgreSQL.
    expect(compare('vector', -1, judged)).toBeGreaterThan(judged.length - 40)
    expect(() => parseText('vector', 3, '[1,2]')).toThrow('expected 3 dimensions, not 2')
  })
})
