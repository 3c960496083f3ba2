/** Sums of integers and numerics travel as decimal text, exact at any size. */

/** '1.50' + '2' = '3.50', the larger number of digits after the point, as numeric's + has it. NaN and Infinity as there. */
export function addDecimals(a: string, b: string): string {
  if (!isNumber(a) || !isNumber(b)) return addSpecials(a, b)
  const scale = Math.max(scaleOf(a), scaleOf(b))
  return format(digitsOf(a, scale) + digitsOf(b, scale), scale)
}

function isNumber(text: string): boolean {
  return /^-?\d/.test(text)
}

function addSpecials(a: string, b: string): string {
  if (isNumber(a)) return b
  if (isNumber(b)) return a
  return a === b ? a : 'NaN'
}

function scaleOf(text: string): number {
  const point = text.indexOf('.')
  return point < 0 ? 0 : text.length - point - 1
}

function digitsOf(text: string, scale: number): bigint {
  return BigInt(text.replace('.', '') + '0'.repeat(scale - scaleOf(text)))
}

function format(value: bigint, scale: number): string {
  if (scale === 0) return String(value)
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0')
  const sign = value < 0n ? '-' : ''
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
