/**
 * Text output of types, as PostgreSQL's output functions: send format → text. Undefined = not written here (other
 * types, DateStyle other than ISO, zones other than UTC): ask PostgreSQL.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import { datumToVector } from '#engine/columnar/read-datum.js'
import { formatDate, formatTime, formatTimestamp } from '#engine/types/datetime-text.js'
import { formatFloat4, formatFloat8 } from '#engine/types/float-text.js'
import { formatNumeric } from '#engine/types/numeric-text.js'
import { defaultTypeSettings, isUtc, type TypeSettings } from '#engine/types/type-settings.js'
import { formatVectorText } from '#engine/types/vector-text.js'

type Formatter = (datum: Uint8Array, view: DataView, settings: TypeSettings) => string | undefined

/** @throws 22P03 when the bytes are no value of the type. */
export function formatText(
  typeName: string,
  datum: Uint8Array,
  settings: TypeSettings = defaultTypeSettings,
): string | undefined {
  const formatter = formatters.get(typeName)
  if (formatter === undefined) return undefined
  const size = sizes.get(typeName)
  if (size !== undefined && datum.byteLength !== size) {
    throw new DatabaseError(SqlState.invalidBinaryRepresentation, 'incorrect binary data format')
  }
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  return formatter(datum, view, settings)
}

/** Whether formatText will answer for this type under these settings. */
export function hasTextFormatter(
  typeName: string,
  settings: TypeSettings = defaultTypeSettings,
): boolean {
  if (typeName === 'timestamptz') return isIso(settings) && isUtc(settings.timeZone)
  if (typeName === 'date' || typeName === 'timestamp') return isIso(settings)
  return formatters.has(typeName)
}

const sizes = new Map([
  ['bool', 1],
  ['int2', 2],
  ['int4', 4],
  ['int8', 8],
  ['oid', 4],
  ['float4', 4],
  ['float8', 8],
  ['date', 4],
  ['time', 8],
  ['timestamp', 8],
  ['timestamptz', 8],
  ['uuid', 16],
])

const utf8 = (datum: Uint8Array): string =>
  Buffer.from(datum.buffer, datum.byteOffset, datum.byteLength).toString('utf8')

const formatters = new Map<string, Formatter>([
  ['bool', (datum) => (datum[0] === 0 ? 'f' : 't')],
  ['int2', (_, view) => String(view.getInt16(0))],
  ['int4', (_, view) => String(view.getInt32(0))],
  ['int8', (_, view) => String(view.getBigInt64(0))],
  ['oid', (_, view) => String(view.getUint32(0))],
  ['float4', (_, view, settings) => formatFloat4(view.getFloat32(0), settings.extraFloatDigits)],
  ['float8', (_, view, settings) => formatFloat8(view.getFloat64(0), settings.extraFloatDigits)],
  ['numeric', formatNumeric],
  ['text', utf8],
  ['varchar', utf8],
  ['bpchar', utf8],
  ['name', utf8],
  ['json', utf8],
  ['xml', utf8],
  ['unknown', utf8],
  ['cstring', utf8],
  ['jsonb', formatJsonb],
  ['void', () => ''],
  ['uuid', formatUuid],
  ['bytea', formatBytea],
  ['date', (_, view, settings) => (isIso(settings) ? formatDate(view.getInt32(0)) : undefined)],
  ['time', (_, view) => formatTime(view.getBigInt64(0))],
  [
    'timestamp',
    (_, view, settings) => (isIso(settings) ? formatTimestamp(view.getBigInt64(0), '') : undefined),
  ],
  [
    'timestamptz',
    (_, view, settings) =>
      isIso(settings) && isUtc(settings.timeZone)
        ? formatTimestamp(view.getBigInt64(0), '+00')
        : undefined,
  ],
  ['vector', (datum) => formatVectorText(datumToVector(datum))],
])

function isIso(settings: TypeSettings): boolean {
  return /^iso\b/i.test(settings.dateStyle)
}

/** jsonb_send: a version byte, 1, then the text. */
function formatJsonb(datum: Uint8Array): string {
  if (datum[0] !== 1) {
    throw new DatabaseError(
      SqlState.internalError,
      `unsupported jsonb version number ${datum[0] ?? 0}`,
    )
  }
  return utf8(datum.subarray(1))
}

function formatUuid(datum: Uint8Array): string {
  const hex = Buffer.from(datum).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function formatBytea(datum: Uint8Array, _: DataView, settings: TypeSettings): string {
  if (settings.byteaOutput === 'hex') return `\\x${Buffer.from(datum).toString('hex')}`
  // byteaout: backslash doubled, what is not printable ASCII in octal.
  let text = ''
  for (const byte of datum) {
    if (byte === 0x5c) text += '\\\\'
    else if (byte < 0x20 || byte > 0x7e) text += `\\${byte.toString(8).padStart(3, '0')}`
    else text += String.fromCharCode(byte)
  }
  return text
}
