import type { Answer } from './session.js'

/** What two right answers to the same statement have in common. */
export interface Agreement {
  /**
   * total: the same rows in the same order. keys: rows come by the key columns, and of those tied with the row at
   * LIMIT or OFFSET any may be missing. bag: the same rows in any order. count: as many rows (LIMIT without ORDER BY).
   */
  readonly order: 'total' | 'keys' | 'bag' | 'count'
  /** Positions of the sort keys among the columns. */
  readonly keys?: readonly number[]
  /** LIMIT or OFFSET cut the rows. */
  readonly cut?: boolean
  /** Equal values with several spellings (-0 and 0, 1.0 and 1.00) may stand for each other. */
  readonly anySpelling?: boolean
  /** Columns with sums of floats: their last digits depend on the order of the rows. */
  readonly approximate?: readonly number[]
}

/** @returns what differs; undefined: nothing */
export function difference(
  found: Answer,
  expected: Answer,
  agreement: Agreement,
): string | undefined {
  if (found.error !== undefined || expected.error !== undefined)
    return errorDifference(found, expected, agreement)
  if (String(found.fields) !== String(expected.fields)) {
    return `columns: ${found.fields} instead of ${expected.fields}`
  }
  if (found.tag.split(' ')[0] === expected.tag.split(' ')[0] && found.tag !== expected.tag)
    return `tag: ${found.tag} instead of ${expected.tag}`
  if (found.rows.length !== expected.rows.length) {
    return `${found.rows.length} rows instead of ${expected.rows.length}`
  }
  const approximate = new Set(agreement.approximate ?? [])
  const spell = agreement.anySpelling === true ? canonical : (value: string | null) => value
  const spelled = (rows: Answer['rows']): (string | null)[][] =>
    rows.map((row) => row.map((value, i) => (approximate.has(i) ? rounded(value) : spell(value))))
  const foundRows = spelled(found.rows)
  const expectedRows = spelled(expected.rows)
  switch (agreement.order) {
    case 'count':
      return undefined
    case 'total':
      return firstDifference(foundRows, expectedRows)
    case 'bag':
      return firstDifference(sorted(foundRows), sorted(expectedRows))
    case 'keys': {
      const keys = agreement.keys ?? []
      const keyOf = (row: readonly (string | null)[]): (string | null)[] =>
        keys.map((key) => canonical(row[key] ?? null))
      const byKeys = firstDifference(foundRows.map(keyOf), expectedRows.map(keyOf))
      if (byKeys !== undefined) return `sort keys, ${byKeys}`
      if (agreement.cut !== true) return firstDifference(sorted(foundRows), sorted(expectedRows))
      const edges = [expectedRows[0], expectedRows.at(-1)].map((row) => String(row && keyOf(row)))
      const inner = (rows: readonly (readonly (string | null)[])[]) =>
        sorted(rows.filter((row) => !edges.includes(String(keyOf(row)))))
      return firstDifference(inner(foundRows), inner(expectedRows))
    }
  }
}

function errorDifference(
  found: Answer,
  expected: Answer,
  { approximate }: Agreement,
): string | undefined {
  const state = (answer: Answer): string =>
    answer.error === undefined ? 'no error' : `${answer.error.sqlState} ${answer.error.message}`
  if (state(found) === state(expected)) return undefined
  // Which of several values that are out of range is met first depends on the order of the rows.
  if (found.error?.sqlState === '22003' && expected.error?.sqlState === '22003') return undefined
  // PostgreSQL meets a query vector of wrong length when it meets a row; natively it is met before.
  const dimensions = /^22000 different vector dimensions/
  if (dimensions.test(state(found)) || dimensions.test(state(expected))) return undefined
  // Whether a sum of floats overflows on its way depends on the order of the rows, too.
  const overflow = '22003 value out of range: overflow'
  const sums = approximate !== undefined && approximate.length > 0
  if (sums && (state(found) === overflow || state(expected) === overflow)) return undefined
  return `${state(found)} instead of ${state(expected)}`
}

function sorted(
  rows: readonly (readonly (string | null)[])[],
): readonly (readonly (string | null)[])[] {
  return rows
    .map((row) => ({ row, text: JSON.stringify(row) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
    .map(({ row }) => row)
}

function firstDifference(
  found: readonly (readonly (string | null)[])[],
  expected: readonly (readonly (string | null)[])[],
): string | undefined {
  for (const [i, row] of expected.entries()) {
    const other = JSON.stringify(found[i] ?? [])
    const wanted = JSON.stringify(row)
    if (other !== wanted) return `row ${i}: ${other} instead of ${wanted}`
  }
  return undefined
}

/** -0 → 0, 1.00 → 1; trailing spaces (bpchar) do not count. */
function canonical(value: string | null): string | null {
  if (value === null) return null
  if (/^-?\d+(\.\d*)?$/.test(value)) {
    const plain = value.includes('.') ? value.replace(/\.?0+$/, '') : value
    return plain === '-0' ? '0' : plain
  }
  return value.trimEnd()
}

function rounded(value: string | null): string | null {
  if (value === null || !Number.isFinite(Number(value))) return value
  return canonical(Number(value).toPrecision(5))
}
