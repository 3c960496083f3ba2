/**
 * Floats as text and back, as PostgreSQL has them: shortest digits that read back as the same float (Ryu with
 * open intervals, src/common/d2s.c, f2s.c), printed like %g: scientific below 1e-4 and from 1e15 (float8), 1e6 (float4).
 * The plain twin of native/codecs/float-format.cc and float-parse.cc.
 */
import { DatabaseError, SqlState } from '#base/errors.js'

const scratch = new DataView(new ArrayBuffer(8))

/** @param extraFloatDigits 1 and more: shortest; else %.{15 + it}g. */
export function formatFloat8(value: number, extraFloatDigits = 1): string {
  const special = formatSpecial(value)
  if (special !== undefined) return special
  if (extraFloatDigits < 1) return formatG(value, Math.max(15 + extraFloatDigits, 1))
  // Only from 2^53 up can the shortest digits lie on the border of the interval that reads back as the value.
  const text = String(value)
  if (Math.abs(value) < 9007199254740992) return layOut(text, 15)
  const borders = float8Borders(value)
  if (!borders.includes(exactInteger(text))) return layOut(text, 15)
  return layOut(shortestInside(value, borders, 17, Number), 15)
}

export function formatFloat4(value: number, extraFloatDigits = 1): string {
  const special = formatSpecial(value)
  if (special !== undefined) return special
  if (extraFloatDigits < 1) return formatG(value, Math.max(6 + extraFloatDigits, 1))
  return layOut(shortest4(value), 6)
}

function formatSpecial(value: number): string | undefined {
  if (Number.isNaN(value)) return 'NaN'
  if (value === Number.POSITIVE_INFINITY) return 'Infinity'
  if (value === Number.NEGATIVE_INFINITY) return '-Infinity'
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  return undefined
}

/**
 * Short cuts around shortestInside: most float4 need six digits or more, and where one length reads back every longer
 * one does. Not taken where ties, borders or lopsided intervals are possible.
 */
function shortest4(value: number): string {
  const size = Math.abs(value)
  scratch.setFloat32(0, value)
  const powerOfTwo = (scratch.getUint32(0) & 0x7fffff) === 0
  // A tie between two decimals of up to nine digits has an exact decimal of ten.
  if (size >= 16777216 || powerOfTwo || Number(value.toExponential(10)) === value) {
    const borders = size < 16777216 ? undefined : float4Borders(value)
    return shortestInside(value, borders, 9, roundToFloat4)
  }
  let text = value.toExponential(5)
  if (roundToFloat4(text) !== value) {
    for (let digits = 7; digits < 9; digits += 1) {
      text = value.toExponential(digits - 1)
      if (roundToFloat4(text) === value) return text
    }
    return value.toExponential(8)
  }
  for (let digits = 5; digits > 0; digits -= 1) {
    const shorter = value.toExponential(digits - 1)
    if (roundToFloat4(shorter) !== value) break
    text = shorter
  }
  return text
}

/** Fewest digits that read back as value and do not lie on one of the borders. */
function shortestInside(
  value: number,
  borders: readonly bigint[] | undefined,
  digitsMax: number,
  read: (text: string) => number,
): string {
  for (let digits = 1; digits < digitsMax; digits += 1) {
    const text = nearestDecimal(value, digits)
    if (read(text) === value && !onBorder(text, borders)) return text
    // At a power of two the lower border is nearer: the next decimal above may be inside where the nearest is not.
    if (!Number.isInteger(Math.log2(Math.abs(value)))) continue
    const above = nextDecimal(text)
    if (read(above) === value && !onBorder(above, borders)) return above
  }
  return nearestDecimal(value, digitsMax)
}

/** The nearest decimal of so many digits; of two equally near the even one (toExponential takes the larger). */
function nearestDecimal(value: number, digits: number): string {
  const text = value.toExponential(digits - 1)
  const longer = value.toExponential(digits)
  const last = longer.indexOf('e') - 1
  if (longer[last] !== '5' || compareDecimal(longer, value) !== 0) return text
  const lower = longer.slice(0, last) + longer.slice(last + 1)
  const even = '02468'.includes(digits === 1 ? (longer[last - 2] ?? '') : (longer[last - 1] ?? ''))
  return even ? lower : text
}

function onBorder(text: string, borders: readonly bigint[] | undefined): boolean {
  return borders?.includes(exactInteger(text)) ?? false
}

/** Four times the decimal, exactly; for decimals that are integers (all that can be on a border are); else -1. */
function exactInteger(text: string): bigint {
  const [mantissa = '', exponent = '0'] = text.replace('-', '').split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const power = Number(exponent) - fraction.length
  if (power < 0) return -1n
  return BigInt(whole + fraction) * 10n ** BigInt(power) * 4n
}

function nextDecimal(text: string): string {
  const [mantissa = '', exponent = '0'] = text.split('e')
  const digits = mantissa.replace('.', '').replace('-', '')
  const power = Number(exponent) - digits.length + 1
  return `${text.startsWith('-') ? '-' : ''}${BigInt(digits) + 1n}e${power}`
}

/** Four times the midpoints to the neighbours, as integers. |value| >= 2^53. */
function float8Borders(value: number): readonly bigint[] {
  const size = Math.abs(value)
  scratch.setFloat64(0, size)
  const bits = scratch.getBigUint64(0)
  return bordersOf(
    (bits & 0xfffffffffffffn) | 0x10000000000000n,
    Number(bits >> 52n) - 1075,
    (bits & 0xfffffffffffffn) === 0n,
  )
}

function float4Borders(value: number): readonly bigint[] {
  scratch.setFloat32(0, Math.abs(value))
  const bits = scratch.getUint32(0)
  return bordersOf(
    BigInt((bits & 0x7fffff) | 0x800000),
    (bits >>> 23) - 150,
    (bits & 0x7fffff) === 0,
  )
}

function bordersOf(mantissa: bigint, exponent: number, powerOfTwo: boolean): readonly bigint[] {
  const scale = 2n ** BigInt(exponent)
  return [(4n * mantissa + 2n) * scale, (4n * mantissa - (powerOfTwo ? 1n : 2n)) * scale]
}

/** Digits in JavaScript's form into PostgreSQL's: at least two exponent digits, plain between 1e-4 and 10^limit. */
function layOut(text: string, limit: number): string {
  const negative = text.startsWith('-')
  const [mantissa = '', power = '0'] = (negative ? text.slice(1) : text).split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  let digits = whole + fraction
  let exponent = Number(power) + whole.length - 1
  const leading = /^0*/.exec(digits)?.[0].length ?? 0
  digits = digits.slice(leading).replace(/0+$/, '')
  exponent -= leading
  const sign = negative ? '-' : ''
  if (exponent < -4 || exponent >= limit) {
    const rest = digits.length > 1 ? `.${digits.slice(1)}` : ''
    return `${sign}${digits[0] ?? ''}${rest}e${exponentText(exponent)}`
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  if (digits.length <= exponent + 1) return sign + digits.padEnd(exponent + 1, '0')
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`
}

function exponentText(exponent: number): string {
  return `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
}

/** C's %.{precision}g. */
function formatG(value: number, precision: number): string {
  return layOut(nearestDecimal(value, precision), precision)
}

const decimal = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/
const spaces = /^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g

/**
 * float8in. Undefined for forms left to PostgreSQL (hexadecimal).
 * @throws 22P02, 22003 as float8in does
 */
export function parseFloat8(text: string): number | undefined {
  return parseFloatText(text, 'double precision', Number)
}

/** float4in; the result is a float32 value, rounded once. */
export function parseFloat4(text: string): number | undefined {
  return parseFloatText(text, 'real', roundToFloat4)
}

function parseFloatText(
  text: string,
  typeName: string,
  read: (text: string) => number,
): number | undefined {
  const trimmed = text.replace(spaces, '')
  if (!decimal.test(trimmed)) {
    const special = parseSpecial(trimmed)
    if (special !== undefined) return special
    if (/^[+-]?(0x|nan|inf)/i.test(trimmed)) return undefined
    throw new DatabaseError(
      SqlState.invalidTextRepresentation,
      `invalid input syntax for type ${typeName}: "${text}"`,
    )
  }
  const value = read(trimmed)
  const lost = value === 0 && /[1-9]/.test(trimmed.replace(/[eE].*/, ''))
  if (!Number.isFinite(value) || lost) {
    throw new DatabaseError(
      SqlState.numericValueOutOfRange,
      `"${trimmed}" is out of range for type ${typeName}`,
    )
  }
  return value
}

function parseSpecial(text: string): number | undefined {
  switch (text.toLowerCase()) {
    case 'nan':
      return Number.NaN
    case 'inf':
    case '+inf':
    case 'infinity':
    case '+infinity':
      return Number.POSITIVE_INFINITY
    case '-inf':
    case '-infinity':
      return Number.NEGATIVE_INFINITY
    default:
      return undefined
  }
}

/** A decimal to the nearest float32, rounded once: where the double lies between two floats, the decimal decides. */
export function roundToFloat4(text: string): number {
  const double = Number(text)
  const float = Math.fround(double)
  if (float === double || Number.isNaN(double) || !Number.isFinite(double)) return float
  const other = neighbour(float, double)
  const middle = (finite(float) + finite(other)) / 2
  if (middle !== double) return float
  const side = compareDecimal(text, double)
  if (side === 0) return float
  return side > 0 === other > float ? other : float
}

/** The float on double's side of float. */
function neighbour(float: number, double: number): number {
  scratch.setFloat32(0, float)
  const away = Math.abs(double) > Math.abs(float)
  scratch.setInt32(0, scratch.getInt32(0) + (away ? 1 : -1))
  return scratch.getFloat32(0)
}

/** Infinity as the float that would follow the largest. */
function finite(float: number): number {
  return Number.isFinite(float) ? float : Math.sign(float) * 2 ** 128
}

/** Sign of decimal - double, exactly. */
function compareDecimal(text: string, double: number): number {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(text)
  const power = Number(match?.[4] ?? 0) - (match?.[3] ?? '').length
  let left = BigInt((match?.[2] ?? '') + (match?.[3] ?? '') || '0')
  if (match?.[1] === '-') left = -left
  scratch.setFloat64(0, double)
  const bits = scratch.getBigUint64(0)
  const exponentBits = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xfffffffffffffn
  let right = exponentBits === 0 ? fraction : fraction | 0x10000000000000n
  if (double < 0) right = -right
  const exponent = Math.max(exponentBits, 1) - 1075
  if (power > 0) left *= 10n ** BigInt(power)
  else right *= 10n ** BigInt(-power)
  if (exponent > 0) right <<= BigInt(exponent)
  else left <<= BigInt(-exponent)
  return left === right ? 0 : left > right ? 1 : -1
}
