/** What EXPLAIN ANALYZE says about how a search went: which of its rows a graph led to. */
import type pg from 'pg'

export interface Looked {
  readonly growingRows: number
  readonly sealedRows: number
  /** Rows of segments that were searched by their graph. */
  readonly growingByGraph: number
  readonly sealedByGraph: number
}

interface Node {
  readonly Plans?: readonly Node[]
  readonly [property: string]: unknown
}

const segment = /(growing|sealed), rows (\d+), .*strategy (\w+)/

/** Runs the search once more, in the transaction that is open. */
export async function explainSearch(
  client: pg.Client,
  sql: string,
  values: readonly unknown[],
): Promise<Looked> {
  const { rows } = await client.query({
    text: `EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`,
    values: [...values],
    rowMode: 'array',
  })
  const [cell] = rows[0] ?? []
  const plans = (typeof cell === 'string' ? JSON.parse(cell) : cell) as readonly { Plan: Node }[]
  return readPlan(plans[0]?.Plan ?? {})
}

export function readPlan(plan: Node): Looked {
  const looked = { growingRows: 0, sealedRows: 0, growingByGraph: 0, sealedByGraph: 0 }
  const walk = (node: Node): void => {
    for (const [name, value] of Object.entries(node)) {
      const found = name.startsWith('Segment ') ? segment.exec(String(value)) : null
      if (found === null) continue
      const rows = Number(found[2])
      const byGraph = found[3] === 'index' ? rows : 0
      if (found[1] === 'growing') {
        looked.growingRows += rows
        looked.growingByGraph += byGraph
      } else {
        looked.sealedRows += rows
        looked.sealedByGraph += byGraph
      }
    }
    for (const inner of node.Plans ?? []) walk(inner)
  }
  walk(plan)
  return looked
}

/** Over a run. */
export class GraphUse {
  /** Searches in which a graph led to half of the rows or more: those that recall is counted of. */
  searches = 0
  /** Searches that walked the graph of a growing segment, of a sealed one. */
  growing = 0
  sealed = 0
  #rows = 0
  #byGraph = 0

  /** @returns whether graphs led to most of the rows */
  note(looked: Looked): boolean {
    const rows = looked.growingRows + looked.sealedRows
    const byGraph = looked.growingByGraph + looked.sealedByGraph
    this.#rows += rows
    this.#byGraph += byGraph
    if (looked.growingByGraph > 0) this.growing += 1
    if (looked.sealedByGraph > 0) this.sealed += 1
    const mostly = byGraph > 0 && byGraph * 2 >= rows
    if (mostly) this.searches += 1
    return mostly
  }

  /** Part of all rows looked at that lay in segments searched by their graph. */
  get share(): number {
    return this.#rows === 0 ? 0 : this.#byGraph / this.#rows
  }
}
