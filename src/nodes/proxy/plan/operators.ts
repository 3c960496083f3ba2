/** grammar/operators.json as lookup tables. */
import { readFileSync } from 'node:fs'
import type { Metric } from '#engine/columnar/schema.js'

interface DistanceEntry {
  readonly operator: string
  readonly function: string
  readonly metric: Metric
  readonly operatorClass: string
}

const table = JSON.parse(
  readFileSync(new URL('../../../../grammar/operators.json', import.meta.url), 'utf8'),
) as { readonly distances: readonly DistanceEntry[] }

export const vectorOperators = {
  byOperator: new Map(table.distances.map((entry) => [entry.operator, entry.metric])),
  byFunction: new Map(table.distances.map((entry) => [entry.function, entry.metric])),
  operatorOf: new Map(table.distances.map((entry) => [entry.metric, entry.operator])),
} as const
