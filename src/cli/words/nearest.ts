/** Nearest-neighbour statements over the word table, exact or through the index, and what they agree on. */
import type { Client } from 'pg'

export interface Nearest {
  readonly sql: string
  readonly name: string
}

/** @param condition without parameters, or empty */
export function nearestSql(table: string, condition: string, limit: number): string {
  const where = condition === '' ? '' : ` WHERE ${condition}`
  return `SELECT id FROM ${table}${where} ORDER BY embedding <=> $1 LIMIT ${limit}`
}

/** Ids of the nearest rows per query, nearest first. */
export async function nearestIds(
  client: Client,
  statement: Nearest,
  queries: readonly string[],
  onQuery?: (done: number) => void,
): Promise<readonly (readonly number[])[]> {
  const found: number[][] = []
  for (const query of queries) {
    const { rows } = await client.query<number[]>({
      name: statement.name,
      text: statement.sql,
      values: [query],
      rowMode: 'array',
    })
    found.push(rows.map(([id]) => Number(id)))
    onQuery?.(found.length)
  }
  return found
}

/** Share of the exact answers that were found; a query with no answer at all counts as found. */
export function recallOf(
  found: readonly (readonly number[])[],
  exact: readonly (readonly number[])[],
): number {
  let hits = 0
  let wanted = 0
  exact.forEach((ids, i) => {
    const given = new Set(found[i])
    wanted += ids.length
    for (const id of ids) if (given.has(id)) hits += 1
  })
  return wanted === 0 ? 1 : hits / wanted
}

/** Fewest rows that any query returned: LIMIT k must give k while k match. */
export function fewestRows(found: readonly (readonly number[])[]): number {
  return Math.min(...found.map((ids) => ids.length))
}
