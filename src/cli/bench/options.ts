/** The flags of `elanus bench`. */
import {
  describeFlags,
  type Flag,
  flagNumber,
  flagNumbers,
  flagText,
  readArguments,
} from '#cli/arguments.js'
import type { Target } from '#cli/bench/figures.js'
import { ConfigError } from '#config.js'

const flags: Readonly<Record<string, Flag>> = {
  target: {
    placeholder: 'NAME=URL',
    meaning:
      'a server, such as elanus=postgres://postgres@127.0.0.1/postgres; repeat for more; ratios are to the last',
  },
  connections: { placeholder: '1,8', meaning: 'numbers of clients at the same time' },
  ef: {
    placeholder: '20,40,…',
    meaning: 'hnsw.ef_search without a condition (20,40,80,120,200,400)',
  },
  filters: {
    placeholder: '0.5,0.1,…',
    meaning:
      'shares of rows that conditions keep (0.5,0.1,0.01,0.001,0.0001); none: no filtered searches',
  },
  'filter-ef': { placeholder: '40,200', meaning: 'hnsw.ef_search with a condition' },
  seconds: { placeholder: 'N', meaning: 'length of one measurement (2)' },
  rounds: {
    placeholder: 'N',
    meaning: 'measurements of each setting, servers taking turns; the median counts (3)',
  },
  queries: { placeholder: 'N', meaning: 'different queries, at most 1000 (1000)' },
  rows: { placeholder: 'N', meaning: 'load only so many words, for a quick try' },
  'ef-construction': { placeholder: 'N', meaning: 'of the hnsw index (200)' },
  m: { placeholder: 'N', meaning: 'of the hnsw index (16)' },
  keep: { placeholder: undefined, meaning: 'search what an earlier run has loaded' },
  'load-only': { placeholder: undefined, meaning: 'measure COPY and the index build, no searches' },
  out: { placeholder: 'DIR', meaning: 'where table, picture and figures go (bench-results)' },
  help: { placeholder: undefined, meaning: 'this page' },
}

export interface BenchOptions {
  readonly targets: readonly Target[]
  readonly connections: readonly number[]
  readonly searchWidths: readonly number[]
  readonly filterShares: readonly number[]
  readonly filterSearchWidths: readonly number[]
  readonly seconds: number
  readonly rounds: number
  readonly queryCount: number
  readonly rowCountMax: number
  readonly m: number
  readonly efConstruction: number
  readonly keep: boolean
  readonly loadOnly: boolean
  readonly outFolder: string
}

/** @returns the help text when that is what was asked for. @throws ConfigError */
export function readBenchOptions(args: readonly string[]): BenchOptions | string {
  const given = readArguments(args, flags)
  if (given.flags.has('help')) return `elanus bench\n\n${describeFlags(flags)}`
  const [unexpected] = given.rest
  if (unexpected !== undefined) throw new ConfigError(`unexpected argument "${unexpected}"`)
  return {
    targets: (given.flags.get('target') ?? []).map(parseTarget),
    connections: flagNumbers(given, 'connections', [1, 8]),
    searchWidths: flagNumbers(given, 'ef', [20, 40, 80, 120, 200, 400]),
    filterShares: flagNumbers(given, 'filters', [0.5, 0.1, 0.01, 0.001, 0.0001]),
    filterSearchWidths: flagNumbers(given, 'filter-ef', [40, 200]),
    seconds: flagNumber(given, 'seconds', 2),
    rounds: flagNumber(given, 'rounds', 3),
    queryCount: flagNumber(given, 'queries', 1000),
    rowCountMax: flagNumber(given, 'rows', Number.POSITIVE_INFINITY),
    m: flagNumber(given, 'm', 16),
    efConstruction: flagNumber(given, 'ef-construction', 200),
    keep: given.flags.has('keep'),
    loadOnly: given.flags.has('load-only'),
    outFolder: flagText(given, 'out') ?? 'bench-results',
  }
}

function parseTarget(text: string): Target {
  const [, name, url] = /^([^=:/]+)=(postgres(?:ql)?:\/\/.+)$/.exec(text) ?? []
  if (name !== undefined && url !== undefined) return { name, url }
  throw new ConfigError(`--target: "${text}" is not NAME=postgres://USER@HOST:PORT/DATABASE`)
}
