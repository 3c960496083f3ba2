/** The types of the generated tables: values that hurt, and their binary send format. */
import type { Random } from './random.js'

export interface ValueType {
  /** As in CREATE TABLE. */
  readonly name: string
  /** For casts of literals: without length. */
  readonly castName: string
  readonly oid: number
  /** Text forms; columns draw from these, so that there are duplicates and comparisons hit. */
  readonly values: readonly string[]
  /** A value outside the pool now and then. */
  draw?(random: Random): string
  /** Undefined: parameters of this type are sent as text only. */
  toBinary?(text: string): Uint8Array
  readonly group: 'number' | 'text' | 'time' | 'bool' | 'json' | 'other'
  /** Has btree order. */
  readonly ordered: boolean
  /** Different values can be equal (-0 and 0, 1.0 and 1.00): groups have several spellings. */
  readonly spellings: boolean
}

function bytesOf(size: number, write: (view: DataView) => void): Uint8Array {
  const view = new DataView(new ArrayBuffer(size))
  write(view)
  return new Uint8Array(view.buffer)
}

function integer(name: string, oid: number, bits: number): ValueType {
  const max = 2n ** BigInt(bits - 1) - 1n
  return {
    name,
    castName: name,
    oid,
    values: [
      '0',
      '1',
      '2',
      '3',
      '7',
      '-1',
      '-5',
      '100',
      String(max),
      String(-max - 1n),
      String(max - 1n),
    ],
    draw: (random) => String(random.integer(-300, 300)),
    toBinary: (text) =>
      bytesOf(bits / 8, (view) => {
        if (bits === 16) view.setInt16(0, Number(text))
        else if (bits === 32) view.setInt32(0, Number(text))
        else view.setBigInt64(0, BigInt(text))
      }),
    group: 'number',
    ordered: true,
    spellings: false,
  }
}

const floatValues = [
  '0',
  '-0',
  '1',
  '2',
  '1.5',
  '-2.25',
  '0.1',
  '100',
  'NaN',
  'Infinity',
  '-Infinity',
  '16777217',
  '1e-7',
  '1e15',
  '1e16',
]

function float(name: string, oid: number, size: 4 | 8, extremes: readonly string[]): ValueType {
  return {
    name,
    castName: name,
    oid,
    values: [...floatValues, ...extremes],
    draw: (random) => String(random.integer(-1000, 1000) / 8 + random.integer(0, 9) / 1000),
    toBinary: (text) =>
      bytesOf(size, (view) => {
        if (size === 4) view.setFloat32(0, Number(text))
        else view.setFloat64(0, Number(text))
      }),
    group: 'number',
    ordered: true,
    spellings: true,
  }
}

const texts = [
  '',
  'a',
  'A',
  'b',
  'ab',
  'abc',
  'a%b',
  'a_b',
  'a\\b',
  ' a',
  'a ',
  'NULL',
  'null',
  'ä',
  'Ä',
  'é',
  'e\u0301',
  'ß',
  'ss',
  '日本',
  '😀',
  '😀a',
  '\u{10ffff}',
  '\uffff',
  "o'neil",
  '"q"',
  '{1,2}',
  'line\nbreak',
  'tab\t',
  '10',
  '9',
]

function textType(
  name: string,
  castName: string,
  oid: number,
  values: readonly string[],
): ValueType {
  return {
    name,
    castName,
    oid,
    values,
    toBinary: (value) => new TextEncoder().encode(value),
    group: 'text',
    ordered: true,
    spellings: castName === 'bpchar',
  }
}

const dates = [
  '2024-02-29',
  '2000-01-01',
  '1999-12-31',
  '1970-01-01',
  '2026-11-21',
  'infinity',
  '-infinity',
  '4714-11-24 BC',
  '5874897-12-31',
  '0001-12-31 BC',
]
const times = [
  '2024-02-29 12:00:00',
  '2000-01-01 00:00:00',
  '1999-12-31 23:59:59.999999',
  '1970-01-01 00:00:00.000001',
  '2026-11-21 10:20:30.5',
  'infinity',
  '-infinity',
  '4714-11-24 00:00:00 BC',
  '294276-12-31 23:59:59.999999',
  '0044-03-15 12:00:00 BC',
]
const days = (random: Random): string =>
  `20${random.integer(10, 30)}-0${random.integer(1, 9)}-${random.integer(10, 28)}`

export const types: readonly ValueType[] = [
  {
    name: 'bool',
    castName: 'bool',
    oid: 16,
    values: ['t', 'f'],
    group: 'bool',
    ordered: true,
    spellings: false,
    toBinary: (value) => Uint8Array.of(value === 't' ? 1 : 0),
  },
  integer('int2', 21, 16),
  integer('int4', 23, 32),
  integer('int8', 20, 64),
  float('float4', 700, 4, ['3.4028235e38', '-3.4028235e38', '1e-45', '1.17549435e-38']),
  float('float8', 701, 8, [
    '1.7976931348623157e308',
    '-1e308',
    '5e-324',
    '0.30000000000000004',
    '9007199254740993',
  ]),
  {
    name: 'numeric',
    castName: 'numeric',
    oid: 1700,
    values: [
      '0',
      '0.00',
      '-0.5',
      '1',
      '1.0',
      '1.10',
      '1.1',
      '2',
      '100',
      'NaN',
      'Infinity',
      '-Infinity',
      '1e30',
      '-1e30',
      '0.000000000000000000001',
      '123456789012345678901234567890.123456789',
      '9223372036854775807',
      '9223372036854775808',
      '10000',
      '9999.9999',
      '99999999',
    ],
    draw: (random) => `${random.integer(-500, 500)}.${random.integer(0, 99)}`,
    group: 'number',
    ordered: true,
    spellings: true,
  },
  {
    name: 'numeric(10,2)',
    castName: 'numeric',
    oid: 1700,
    values: ['0', '1', '1.5', '-1.25', '99999999.99', '-99999999.99', '0.01', 'NaN'],
    draw: (random) => `${random.integer(-500, 500)}.${random.integer(0, 99)}`,
    group: 'number',
    ordered: true,
    spellings: false,
  },
  textType('text', 'text', 25, [...texts, 'x'.repeat(500)]),
  textType('varchar', 'varchar', 1043, texts),
  textType('varchar(12)', 'varchar', 1043, texts),
  textType('char(4)', 'bpchar', 1042, ['', 'a', 'a ', 'ab', 'ä', 'abcd', '  a']),
  {
    name: 'date',
    castName: 'date',
    oid: 1082,
    values: dates,
    draw: days,
    group: 'time',
    ordered: true,
    spellings: false,
  },
  {
    name: 'timestamp',
    castName: 'timestamp',
    oid: 1114,
    values: times,
    draw: days,
    group: 'time',
    ordered: true,
    spellings: false,
  },
  {
    name: 'timestamptz',
    castName: 'timestamptz',
    oid: 1184,
    values: times.map((value) =>
      value.includes('inf') ? value : value.replace(/( BC)?$/, '+00$1'),
    ),
    draw: days,
    group: 'time',
    ordered: true,
    spellings: false,
  },
  {
    name: 'time',
    castName: 'time',
    oid: 1083,
    values: ['00:00:00', '24:00:00', '12:34:56.789', '23:59:59.999999', '01:02:03'],
    group: 'other',
    ordered: true,
    spellings: false,
  },
  {
    name: 'interval',
    castName: 'interval',
    oid: 1186,
    values: ['0', '1 day', '25 hours', '1 mon', '31 days', '-1 year 2 days', '00:00:00.000001'],
    group: 'other',
    ordered: true,
    spellings: true,
  },
  {
    name: 'uuid',
    castName: 'uuid',
    oid: 2950,
    values: [
      '00000000-0000-0000-0000-000000000000',
      'ffffffff-ffff-ffff-ffff-ffffffffffff',
      '7f000000-0000-4000-8000-000000000001',
      '80000000-0000-4000-8000-000000000001',
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    ],
    toBinary: (value) => Buffer.from(value.replaceAll('-', ''), 'hex'),
    group: 'other',
    ordered: true,
    spellings: false,
  },
  {
    name: 'bytea',
    castName: 'bytea',
    oid: 17,
    values: ['\\x', '\\x00', '\\x00ff', '\\xff', '\\x7f', '\\x80'],
    toBinary: (value) => Buffer.from(value.slice(2), 'hex'),
    group: 'other',
    ordered: true,
    spellings: false,
  },
  {
    name: 'jsonb',
    castName: 'jsonb',
    oid: 3802,
    values: [
      '{}',
      '[]',
      'null',
      '1',
      '1.0',
      '"a"',
      '{"a": 1}',
      '{"a": "x", "b": [1, 2]}',
      '{"a": null}',
      '[1, 2, 3]',
      '{"a": {"b": "ä😀"}}',
    ],
    group: 'json',
    ordered: true,
    spellings: true,
  },
  {
    name: 'int4[]',
    castName: 'int4[]',
    oid: 1007,
    values: ['{}', '{1,2,3}', '{NULL}', '{1,NULL}', '{{1,2},{3,4}}', '{2147483647}'],
    group: 'other',
    ordered: true,
    spellings: false,
  },
]

export const metrics = ['<->', '<#>', '<=>', '<+>'] as const
export type MetricOperator = (typeof metrics)[number]

export const operatorClasses: Readonly<Record<MetricOperator, string>> = {
  '<->': 'vector_l2_ops',
  '<#>': 'vector_ip_ops',
  '<=>': 'vector_cosine_ops',
  '<+>': 'vector_l1_ops',
}

/** Text of a vector: few distinct components, so that distances tie; sometimes zero, huge or tiny. */
export function drawVector(
  random: Random,
  { dimensions, exact }: { readonly dimensions: number; readonly exact: boolean },
): string {
  const kind = random.integer(0, 19)
  const component = (): string => {
    if (kind === 0) return '0'
    if (kind === 1 && !exact) return random.pick(['1e30', '-1e30', '1e-30', '3e38', '1e20'])
    if (kind < 8 || exact) return String(random.integer(-2, 2))
    return String(random.integer(-1000, 1000) / 100)
  }
  return `[${Array.from({ length: dimensions }, component).join(',')}]`
}

/** vector_send: int16 dimensions, int16 0, float4 each. */
export function vectorBinary(text: string): Uint8Array {
  const components = text.slice(1, -1).split(',').map(Number)
  return bytesOf(4 + components.length * 4, (view) => {
    view.setInt16(0, components.length)
    for (const [i, component] of components.entries()) view.setFloat32(4 + i * 4, component)
  })
}

export function quote(value: string | null): string {
  return value === null ? 'NULL' : `'${value.replaceAll("'", "''")}'`
}
