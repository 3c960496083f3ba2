/**
 * numeric between text and send format (numeric.c, numeric_send): int16 ndigits, int16 weight, uint16 sign
 * (0 +, 0x4000 -, 0xC000 NaN, 0xD000 Infinity, 0xF000 -Infinity), int16 dscale, then ndigits digits to base 10000.
 */
import { DatabaseError, SqlState } from '#base/errors.js'

const plain = /^([+-]?)(\d*)(?:\.(\d*))?$/
const spaces = /^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g

/** VARHDRSZ, part of a typmod. */
const headerSize = 4

/** apply_typmod where it changes nothing but the scale shown; undefined where it rounds or refuses. */
function scaleUnder(typmod: number, whole: number, fraction: number): number | undefined {
  if (typmod < headerSize) return fraction
  const precision = ((typmod - headerSize) >> 16) & 0xffff
  const scale = (((typmod - headerSize) & 0x7ff) ^ 1024) - 1024
  return scale >= 0 && fraction <= scale && whole <= precision - scale ? scale : undefined
}

/** numeric_in for plain decimals that need no rounding, and NaN; undefined for the rest, valid or not. */
export function parseNumeric(text: string, typmod: number): Uint8Array | undefined {
  const trimmed = text.replace(spaces, '')
  if (/^nan$/i.test(trimmed)) return encode([], 0, 0xc000, 0)
  const match = plain.exec(trimmed)
  const whole = (match?.[2] ?? '').replace(/^0+/, '')
  const fraction = match?.[3] ?? ''
  if (match === null || (match[2] ?? '') + fraction === '') {
    if (/^[+-]?[a-z\s]*$/i.test(trimmed) && !/inf/i.test(trimmed)) {
      throw new DatabaseError(
        SqlState.invalidTextRepresentation,
        `invalid input syntax for type numeric: "${text}"`,
      )
    }
    return undefined
  }
  // Limits of numeric.c; far below them the form is simple.
  if (whole.length > 1000 || fraction.length > 1000) return undefined
  const scale = scaleUnder(typmod, whole.length, fraction.length)
  if (scale === undefined) return undefined
  const wholeGroups = Math.ceil(whole.length / 4)
  const padded =
    whole.padStart(wholeGroups * 4, '0') + fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0')
  const digits: number[] = []
  for (let i = 0; i < padded.length; i += 4) digits.push(Number(padded.slice(i, i + 4)))
  let weight = wholeGroups - 1
  while (digits[0] === 0) {
    digits.shift()
    weight -= 1
  }
  while (digits.at(-1) === 0) digits.pop()
  const zero = digits.length === 0
  return encode(digits, zero ? 0 : weight, match[1] === '-' && !zero ? 0x4000 : 0, scale)
}

function encode(
  digits: readonly number[],
  weight: number,
  sign: number,
  scale: number,
): Uint8Array {
  const datum = new Uint8Array(8 + 2 * digits.length)
  const view = new DataView(datum.buffer)
  view.setInt16(0, digits.length)
  view.setInt16(2, weight)
  view.setUint16(4, sign)
  view.setInt16(6, scale)
  digits.forEach((digit, i) => {
    view.setInt16(8 + 2 * i, digit)
  })
  return datum
}

/** numeric_out. @throws 22P03 when the bytes are no numeric. */
export function formatNumeric(datum: Uint8Array): string {
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  if (datum.byteLength < 8 || datum.byteLength !== 8 + 2 * view.getUint16(0)) {
    throw new DatabaseError(SqlState.invalidBinaryRepresentation, 'incorrect binary data format')
  }
  const count = view.getUint16(0)
  const weight = view.getInt16(2)
  const sign = view.getUint16(4)
  const scale = view.getUint16(6)
  if (sign === 0xc000) return 'NaN'
  if (sign === 0xd000) return 'Infinity'
  if (sign === 0xf000) return '-Infinity'
  const groupAt = (position: number): string =>
    position < 0 || position >= count
      ? '0000'
      : String(view.getUint16(8 + 2 * position)).padStart(4, '0')
  let whole = ''
  for (let i = 0; i <= weight; i += 1) whole += groupAt(i)
  let fraction = ''
  for (let i = weight + 1; fraction.length < scale; i += 1) fraction += groupAt(i)
  const text = whole.replace(/^0+(?=\d)/, '') || '0'
  const tail = scale > 0 ? `.${fraction.slice(0, scale)}` : ''
  return `${sign === 0x4000 ? '-' : ''}${text}${tail}`
}
