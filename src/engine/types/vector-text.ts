/** pgvector's text form, plainly: the judge of native/codecs/vector-text.cc. Words from pgvector's vector.c. */
import { DatabaseError, SqlState } from '#base/errors.js'
import { formatFloat4, roundToFloat4 } from '#engine/types/float-text.js'

const dimensionsMax = 16_000
const number = /[ \t\n\v\f\r]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y
const special = /[ \t\n\v\f\r]*[+-]?(nan(\([A-Za-z0-9_]*\))?|inf(inity)?)/iy
const hexadecimal = /[ \t\n\v\f\r]*[+-]?0x[\da-f.]/iy

/**
 * @param dimensions the column's typmod, -1 for any.
 * @returns undefined for hexadecimal floats, which strtof takes and this twin does not.
 * @throws 22P02, 22003, 22000, 54000
 */
export function parseVectorText(text: string, dimensions: number): Float32Array | undefined {
  const syntaxError = (detail?: string) =>
    new DatabaseError(
      SqlState.invalidTextRepresentation,
      `invalid input syntax for type vector: "${text}"`,
      detail === undefined ? {} : { detail },
    )
  let at = skipSpaces(text, 0)
  if (text[at] !== '[') throw syntaxError('Vector contents must start with "[".')
  at = skipSpaces(text, at + 1)
  if (text[at] === ']') {
    throw new DatabaseError(SqlState.dataException, 'vector must have at least 1 dimension')
  }
  const values: number[] = []
  for (;;) {
    if (values.length === dimensionsMax) {
      throw new DatabaseError(
        SqlState.programLimitExceeded,
        `vector cannot have more than ${dimensionsMax} dimensions`,
      )
    }
    if (matchAt(hexadecimal, text, at) !== null) return undefined
    const match = matchAt(number, text, at)
    if (match === null) {
      const infinite = matchAt(special, text, at)
      if (infinite === null) throw syntaxError()
      throw new DatabaseError(
        SqlState.dataException,
        /nan/i.test(infinite[0])
          ? 'NaN not allowed in vector'
          : 'infinite value not allowed in vector',
      )
    }
    const value = roundToFloat4(match[1] ?? '')
    if (!Number.isFinite(value)) {
      throw new DatabaseError(
        SqlState.numericValueOutOfRange,
        `"${match[1] ?? ''}" is out of range for type vector`,
      )
    }
    values.push(value)
    at = skipSpaces(text, at + match[0].length)
    if (text[at] === ']') break
    if (text[at] !== ',') throw syntaxError()
    at += 1
  }
  if (skipSpaces(text, at + 1) !== text.length) throw syntaxError('Junk after closing right brace.')
  if (dimensions > 0 && values.length !== dimensions) {
    throw new DatabaseError(
      SqlState.dataException,
      `expected ${dimensions} dimensions, not ${values.length}`,
    )
  }
  return Float32Array.from(values)
}

export function formatVectorText(values: Float32Array): string {
  let text = '['
  for (let i = 0; i < values.length; i += 1) {
    text += i === 0 ? formatFloat4(values[i] ?? 0) : `,${formatFloat4(values[i] ?? 0)}`
  }
  return `${text}]`
}

function skipSpaces(text: string, from: number): number {
  let at = from
  while (at < text.length && ' \t\n\v\f\r'.includes(text[at] ?? 'x')) at += 1
  return at
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}
