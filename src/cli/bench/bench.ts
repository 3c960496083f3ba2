/**
 * `elanus bench`: the same rows, index and queries on several servers in one run.
 *
 * 1. load every target: COPY in both formats (in turns), table, index
 * 2. search: without a condition and with conditions, per number of connections and ef_search, the targets in turns
 * 3. write table, pictures and figures
 */
import { cpus, totalmem } from 'node:os'
import type { BenchFigures, Condition, LoadFigures, Target } from '#cli/bench/figures.js'
import { measureLoads, withClient } from '#cli/bench/load-target.js'
import { benchK, measureSearches } from '#cli/bench/measure-searches.js'
import { readBenchOptions } from '#cli/bench/options.js'
import { writeReport } from '#cli/bench/write-report.js'
import { print } from '#cli/print.js'
import { fetchWords } from '#cli/words/fetch-words.js'
import { categories, makeWordTable, type WordTable } from '#cli/words/word-table.js'
import { ConfigError } from '#config.js'

export async function bench(args: readonly string[]): Promise<void> {
  const options = readBenchOptions(args)
  if (typeof options === 'string') return print(options)
  if (options.targets.length === 0)
    throw new ConfigError('name at least one server: --target NAME=postgres://…')
  const startedAt = new Date().toISOString()
  const versions = await readVersions(options.targets)
  const words = makeWordTable(await fetchWords(), options.rowCountMax)
  const loads: readonly LoadFigures[] = options.keep ? [] : await measureLoads(options, words)
  const conditions = [
    everyRow,
    ...options.filterShares.map((share) => conditionKeeping(share, words)),
  ]
  const searches = options.loadOnly ? [] : await measureSearches(options, words, conditions)
  const figures: BenchFigures = {
    startedAt,
    machine: describeMachine(),
    versions,
    rowCount: words.rowCount,
    dimensions: words.dimensions,
    m: options.m,
    efConstruction: options.efConstruction,
    k: benchK,
    loads,
    searches,
  }
  await writeReport(figures, options.targets, options.outFolder)
}

const everyRow: Condition = { sql: '', label: 'no condition', share: 1, keeps: () => true }

/** A category where one has that share (spread at random), else the most frequent words (near each other in the space). */
function conditionKeeping(share: number, words: WordTable): Condition {
  const label = `keeps ${Number((share * 100).toPrecision(3))} %`
  const category = categories.find((one) => one.share === share)?.name
  if (category !== undefined) {
    return {
      sql: `category = '${category}'`,
      label,
      share,
      keeps: (row) => words.categoryOf[row] === category,
    }
  }
  const rankMax = words.rankOf[Math.max(0, Math.round(share * words.rowCount) - 1)] ?? 0
  return {
    sql: `rank <= ${rankMax}`,
    label: `${label} by rank`,
    share,
    keeps: (row) => (words.rankOf[row] ?? 0) <= rankMax,
  }
}

async function readVersions(targets: readonly Target[]): Promise<Readonly<Record<string, string>>> {
  const versions: Record<string, string> = {}
  for (const target of targets) {
    versions[target.name] = await withClient(target, async (client) => {
      const { rows } = await client.query<{ version: string }>('SELECT version()')
      const extension = await client.query<{ extversion: string }>(
        "SELECT extversion FROM pg_extension WHERE extname = 'vector'",
      )
      const vector = extension.rows[0]?.extversion
      return `${rows[0]?.version ?? 'unknown'}${vector === undefined ? '' : `, vector ${vector}`}`
    })
  }
  return versions
}

function describeMachine(): string {
  const processors = cpus()
  const gibibytes = Math.round(totalmem() / 2 ** 30)
  return `${processors.length} × ${processors[0]?.model ?? 'unknown'}, ${gibibytes} GB, Node ${process.versions.node}`
}
