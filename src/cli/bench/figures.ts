/** What a run of the benchmark measures; the JSON file holds exactly this. */
export interface Target {
  readonly name: string
  readonly url: string
}

/** Which rows a search may return: a condition in SQL, and the same as a function for the ground truth. */
export interface Condition {
  /** '' = every row. */
  readonly sql: string
  readonly label: string
  /** 0 … 1; 1 = every row. */
  readonly share: number
  readonly keeps: (row: number) => boolean
}

export interface LoadFigures {
  readonly target: string
  readonly copyBinaryRowsPerSecond: number | undefined
  readonly copyTextRowsPerSecond: number | undefined
  readonly indexSeconds: number
}

export interface SearchFigures {
  readonly target: string
  readonly condition: string
  readonly share: number
  readonly connections: number
  readonly efSearch: number
  /** Over the queries that were answered. */
  readonly recall: number
  readonly queriesAnswered: number
  /** Fewest rows that a query returned. */
  readonly fewestRows: number
  /** Medians over the rounds. */
  readonly queriesPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly roundsQueriesPerSecond: readonly number[]
}

export interface BenchFigures {
  readonly startedAt: string
  readonly machine: string
  readonly versions: Readonly<Record<string, string>>
  readonly rowCount: number
  readonly dimensions: number
  readonly m: number
  readonly efConstruction: number
  readonly k: number
  readonly loads: readonly LoadFigures[]
  readonly searches: readonly SearchFigures[]
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Nearest rank. @param share 0 … 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}
