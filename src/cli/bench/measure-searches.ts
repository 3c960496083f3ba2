/**
 * Searches against every target, setting by setting: within a setting the servers take turns, several rounds, so that
 * whatever else the machine does hits all of them. The client is node-postgres with a prepared statement per connection.
 */
import { performance } from 'node:perf_hooks'
import { Client } from 'pg'
import {
  type Condition,
  median,
  quantile,
  type SearchFigures,
  type Target,
} from '#cli/bench/figures.js'
import { groundTruth } from '#cli/bench/ground-truth.js'
import { benchTable } from '#cli/bench/load-target.js'
import type { BenchOptions } from '#cli/bench/options.js'
import { print } from '#cli/print.js'
import { nearestSql } from '#cli/words/nearest.js'
import { vectorText, type WordTable } from '#cli/words/word-table.js'

export const benchK = 10
const warmUpMs = 200

interface Setting {
  readonly condition: Condition
  readonly connections: number
  readonly efSearch: number
}

/** What one target showed in one setting so far. */
interface Observed {
  readonly rates: number[]
  readonly p50s: number[]
  readonly p99s: number[]
  readonly answers: Map<number, readonly number[]>
  next: number
}

export async function measureSearches(
  options: BenchOptions,
  words: WordTable,
  conditions: readonly Condition[],
): Promise<readonly SearchFigures[]> {
  const queryCount = Math.min(options.queryCount, words.queryCount)
  const queries = Array.from({ length: queryCount }, (_, i) =>
    vectorText(words.queries, i, words.dimensions),
  )
  const pools = new Map<string, readonly Client[]>()
  for (const target of options.targets) pools.set(target.name, await connectAll(target, options))
  const figures: SearchFigures[] = []
  try {
    for (const condition of conditions) {
      const truth = await groundTruth(words, condition, queryCount, benchK)
      const widths = condition.sql === '' ? options.searchWidths : options.filterSearchWidths
      for (const connections of options.connections) {
        for (const efSearch of widths) {
          const setting = { condition, connections, efSearch }
          figures.push(...(await measureSetting(options, setting, pools, queries, truth)))
        }
      }
    }
  } finally {
    for (const clients of pools.values()) await Promise.all(clients.map((client) => client.end()))
  }
  return figures
}

async function connectAll(target: Target, options: BenchOptions): Promise<readonly Client[]> {
  const count = Math.max(...options.connections)
  const clients = Array.from({ length: count }, () => new Client({ connectionString: target.url }))
  for (const client of clients) {
    await client.connect()
    // With a condition pgvector finds k rows only when it may go on searching.
    await client.query('SET hnsw.iterative_scan = relaxed_order')
  }
  return clients
}

async function measureSetting(
  options: BenchOptions,
  setting: Setting,
  pools: ReadonlyMap<string, readonly Client[]>,
  queries: readonly string[],
  truth: readonly (readonly number[])[],
): Promise<readonly SearchFigures[]> {
  const observed = new Map<string, Observed>()
  for (let round = 0; round < options.rounds; round++) {
    for (const [name, pool] of pools) {
      const clients = pool.slice(0, setting.connections)
      const seen = observed.get(name) ?? {
        rates: [],
        p50s: [],
        p99s: [],
        answers: new Map(),
        next: 0,
      }
      observed.set(name, seen)
      for (const client of clients) await client.query(`SET hnsw.ef_search = ${setting.efSearch}`)
      await searchFor(warmUpMs, clients, setting.condition, queries, undefined)
      await searchFor(options.seconds * 1000, clients, setting.condition, queries, seen)
    }
  }
  const figures = [...observed].map(([name, seen]) => summarize(name, setting, seen, truth))
  for (const one of figures) print(describe(one))
  return figures
}

/** All clients ask one query after the other until the time is up. */
async function searchFor(
  durationMs: number,
  clients: readonly Client[],
  condition: Condition,
  queries: readonly string[],
  seen: Observed | undefined,
): Promise<void> {
  const text = nearestSql(benchTable, condition.sql, benchK)
  const latenciesMs: number[] = []
  const startedMs = performance.now()
  const endMs = startedMs + durationMs
  let unseenNext = 0
  const askUntilEnd = async (client: Client) => {
    for (let sentMs = performance.now(); sentMs < endMs; ) {
      const index = (seen === undefined ? unseenNext++ : seen.next++) % queries.length
      const { rows } = await client.query<number[]>({
        name: `bench ${condition.label}`,
        text,
        values: [queries[index]],
        rowMode: 'array',
      })
      const nowMs = performance.now()
      latenciesMs.push(nowMs - sentMs)
      if (seen !== undefined && !seen.answers.has(index))
        seen.answers.set(
          index,
          rows.map(([id]) => Number(id)),
        )
      sentMs = nowMs
    }
  }
  await Promise.all(clients.map(askUntilEnd))
  if (seen === undefined) return
  seen.rates.push((latenciesMs.length * 1000) / (performance.now() - startedMs))
  seen.p50s.push(quantile(latenciesMs, 0.5))
  seen.p99s.push(quantile(latenciesMs, 0.99))
}

function summarize(
  target: string,
  { condition, connections, efSearch }: Setting,
  seen: Observed,
  truth: readonly (readonly number[])[],
): SearchFigures {
  let hits = 0
  let wanted = 0
  for (const [index, ids] of seen.answers) {
    const right = new Set(truth[index])
    wanted += right.size
    hits += ids.filter((id) => right.has(id)).length
  }
  return {
    target,
    condition: condition.label,
    share: condition.share,
    connections,
    efSearch,
    recall: wanted === 0 ? 1 : hits / wanted,
    queriesAnswered: seen.answers.size,
    fewestRows: Math.min(...[...seen.answers.values()].map((ids) => ids.length)),
    queriesPerSecond: median(seen.rates),
    p50Ms: median(seen.p50s),
    p99Ms: median(seen.p99s),
    roundsQueriesPerSecond: seen.rates,
  }
}

function describe(figures: SearchFigures): string {
  const { target, condition, connections, efSearch, recall, queriesPerSecond, p50Ms, p99Ms } =
    figures
  return (
    `${condition.padEnd(14)} ${String(connections).padStart(2)} connections  ef ${String(efSearch).padStart(3)}  ` +
    `${target.padEnd(10)} recall ${recall.toFixed(4)}  ${queriesPerSecond.toFixed(0).padStart(6)} q/s  ` +
    `p50 ${p50Ms.toFixed(2)} ms  p99 ${p99Ms.toFixed(2)} ms`
  )
}
