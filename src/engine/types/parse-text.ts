/**
 * Text input of types, as PostgreSQL's input functions: text → send format. Undefined = not decided here: ask
 * PostgreSQL. Taken natively is what has one plain meaning; everything doubtful is left to the judge.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import {
  float32Datum,
  float64Datum,
  int32Datum,
  int64Datum,
  vectorDatum,
} from '#engine/columnar/read-datum.js'
import {
  parseDate,
  parseTime,
  parseTimestamp,
  parseTimestampTz,
} from '#engine/types/datetime-text.js'
import { parseFloat4, parseFloat8 } from '#engine/types/float-text.js'
import { parseNumeric } from '#engine/types/numeric-text.js'
import { defaultTypeSettings, type TypeSettings } from '#engine/types/type-settings.js'
import { parseVectorText } from '#engine/types/vector-text.js'

type Parser = (
  text: string,
  typmod: number,
  settings: Pick<TypeSettings, 'timeZone'>,
) => Uint8Array | undefined

/** VARHDRSZ: typmods of varchar and bpchar are the length plus this. */
const headerSize = 4

/**
 * @throws 22P02, 22003, 22001, 22000 with PostgreSQL's words when the text is surely not a value of the type.
 * @returns send format; undefined when PostgreSQL must be asked
 */
export function parseText(
  typeName: string,
  typmod: number,
  text: string,
  settings: Pick<TypeSettings, 'timeZone'> = defaultTypeSettings,
): Uint8Array | undefined {
  return parsers.get(typeName)?.(text, typmod, settings)
}

const parsers = new Map<string, Parser>([
  ['bool', (text) => new Uint8Array([parseBool(text) ? 1 : 0])],
  ['int2', (text) => parseInteger(text, 'smallint', -32_768n, 32_767n, int16Datum)],
  [
    'int4',
    (text) =>
      parseInteger(text, 'integer', -2_147_483_648n, 2_147_483_647n, (value) =>
        int32Datum(Number(value)),
      ),
  ],
  ['int8', (text) => parseInteger(text, 'bigint', -(2n ** 63n), 2n ** 63n - 1n, int64Datum)],
  ['oid', parseOid],
  ['float4', (text) => mapped(parseFloat4(text), float32Datum)],
  ['float8', (text) => mapped(parseFloat8(text), float64Datum)],
  ['numeric', parseNumeric],
  ['text', (text) => encodeText(text)],
  ['varchar', parseVarchar],
  ['bpchar', parseBpchar],
  ['name', parseName],
  ['uuid', parseUuid],
  ['bytea', parseBytea],
  ['json', parseJson],
  ['date', (text) => mapped(parseDate(text), int32Datum)],
  ['time', (text, typmod) => mapped(parseTime(text, typmod), int64Datum)],
  ['timestamp', (text, typmod) => mapped(parseTimestamp(text, typmod), int64Datum)],
  [
    'timestamptz',
    (text, typmod, { timeZone }) => mapped(parseTimestampTz(text, typmod, timeZone), int64Datum),
  ],
  ['vector', (text, typmod) => mapped(parseVectorText(text, typmod), vectorDatum)],
])

function mapped<T>(value: T | undefined, encode: (value: T) => Uint8Array): Uint8Array | undefined {
  return value === undefined ? undefined : encode(value)
}

/** parse_bool_with_len: unique prefixes of true, false, yes, no, on, off; 1 and 0. */
function parseBool(text: string): boolean {
  const word = text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '').toLowerCase()
  if (word !== '') {
    if ('true'.startsWith(word) || 'yes'.startsWith(word) || word === 'on' || word === '1') {
      return true
    }
    if ('false'.startsWith(word) || 'no'.startsWith(word) || word === '0') return false
    if (word === 'of' || word === 'off') return false
  }
  throw invalidText('boolean', text)
}

const otherInteger = /^\s*[+-]?(0x(_?[\da-f])+|0o(_?[0-7])+|0b(_?[01])+|\d(_?\d)*)\s*$/i

function parseInteger(
  text: string,
  typeName: string,
  min: bigint,
  max: bigint,
  encode: (value: bigint) => Uint8Array,
): Uint8Array | undefined {
  if (!/^[ \t\n\v\f\r]*[+-]?\d+[ \t\n\v\f\r]*$/.test(text)) {
    // 0x, 0o, 0b and 1_000 are integers too.
    if (otherInteger.test(text)) return undefined
    throw invalidText(typeName, text)
  }
  // BigInt knows no plus sign.
  const value = BigInt(text.replace('+', ''))
  if (value < min || value > max) {
    throw new DatabaseError(
      SqlState.numericValueOutOfRange,
      `value "${text}" is out of range for type ${typeName}`,
    )
  }
  return encode(value)
}

function int16Datum(value: bigint): Uint8Array {
  const small = Number(value)
  return new Uint8Array([small >> 8, small])
}

/** Negative and other forms are oids to PostgreSQL too, and left to it. */
function parseOid(text: string): Uint8Array | undefined {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0xffff_ffff) return undefined
  return int32Datum(Number(text) | 0)
}

const textEncoder = new TextEncoder()

function encodeText(text: string): Uint8Array | undefined {
  if (text.includes('\0')) {
    throw new DatabaseError('22021', 'invalid byte sequence for encoding "UTF8": 0x00')
  }
  return isWellFormed(text) ? textEncoder.encode(text) : undefined
}

/** No lone surrogates: what cannot be UTF-8 never came from a client. */
function isWellFormed(text: string): boolean {
  return !/[\ud800-\udfff]/.test(text) || !/\p{Surrogate}/u.test(text)
}

function parseVarchar(text: string, typmod: number): Uint8Array | undefined {
  const length = typmod - headerSize
  if (typmod < headerSize || text.length <= length) return encodeText(text)
  const characters = Array.from(text)
  if (characters.slice(length).some((character) => character !== ' ')) {
    throw new DatabaseError('22001', `value too long for type character varying(${length})`)
  }
  return encodeText(characters.slice(0, length).join(''))
}

function parseBpchar(text: string, typmod: number): Uint8Array | undefined {
  const length = typmod - headerSize
  if (typmod < headerSize) return encodeText(text)
  const characters = Array.from(text)
  if (characters.slice(length).some((character) => character !== ' ')) {
    throw new DatabaseError('22001', `value too long for type character(${length})`)
  }
  const missing = Math.max(length - characters.length, 0)
  return encodeText(characters.slice(0, length).join('') + ' '.repeat(missing))
}

/** NAMEDATALEN is 64: longer names are cut, by PostgreSQL. */
function parseName(text: string): Uint8Array | undefined {
  const datum = encodeText(text)
  return datum === undefined || datum.byteLength > 63 ? undefined : datum
}

/** string_to_uuid: hyphens after any group of four digits, braces around. */
function parseUuid(text: string): Uint8Array {
  const braces = text.startsWith('{')
  const digits = braces ? text.slice(1, -1) : text
  if (braces && !text.endsWith('}')) throw invalidText('uuid', text)
  if (!/^[\da-f]{4}(-?[\da-f]{4}){7}$/i.test(digits)) throw invalidText('uuid', text)
  return new Uint8Array(Buffer.from(digits.replaceAll('-', ''), 'hex'))
}

function parseBytea(text: string): Uint8Array | undefined {
  if (text.startsWith('\\x')) {
    const digits = text.slice(2)
    if (digits.length % 2 !== 0 || !/^[\da-f]*$/i.test(digits)) return undefined
    return new Uint8Array(Buffer.from(digits, 'hex'))
  }
  return text.includes('\\') ? undefined : encodeText(text)
}

/** The grammars agree (RFC 8259); the words of the error are PostgreSQL's to say. */
function parseJson(text: string): Uint8Array | undefined {
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  return encodeText(text)
}

function invalidText(typeName: string, text: string): DatabaseError {
  return new DatabaseError(
    SqlState.invalidTextRepresentation,
    `invalid input syntax for type ${typeName}: "${text}"`,
  )
}
