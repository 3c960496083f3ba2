/**
 * Has the lists of a history judged by a checker that is not ours: `adya` (an implementation of Elle's algorithm), fetched and built by
 * scripts/get-checker.sh. Transactions of REPEATABLE READ must be snapshot isolation that also respects real time (a transaction sees
 * what was acknowledged before it began); those of READ COMMITTED read-committed.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { HistoryEvent } from './recorder.js'

export type Level = 'snapshot' | 'committed'

export interface IsolationVerdict {
  /** unknown: so few transactions met that the history says nothing. */
  readonly verdict: 'valid' | 'anomalies' | 'unknown'
  /** E.g. G-single-item. */
  readonly anomalies: readonly string[]
  readonly transactions: number
  /** The checker's own words. */
  readonly report: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const checker = `${root}build/tools/bin/adya`
const models: Record<Level, string> = {
  snapshot: 'strong-snapshot-isolation',
  committed: 'read-committed',
}

/** Builds the checker where it is missing. @returns why it cannot be had, undefined: it is there */
export function prepareChecker(): string | undefined {
  if (existsSync(checker)) return undefined
  const made = spawnSync('bash', [`${root}scripts/get-checker.sh`], { encoding: 'utf8' })
  if (made.status === 0 && existsSync(checker)) return undefined
  return (made.stderr || String(made.error)).trim().split('\n').at(-1) ?? 'no checker'
}

/** @param linesPath where the checker's input is written */
export function checkIsolation(
  history: Iterable<HistoryEvent>,
  level: Level,
  linesPath: string,
): IsolationVerdict {
  const lines = linesOf(history, level)
  writeFileSync(linesPath, `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`)
  const ran = spawnSync(
    checker,
    [
      'check',
      '--json',
      '-m',
      'list-append',
      '-c',
      models[level],
      '--cycle-search-timeout',
      '60000',
      linesPath,
    ],
    { encoding: 'utf8', maxBuffer: 1 << 30 },
  )
  const report = `${ran.stdout}${ran.stderr}`
  return {
    verdict: verdictOf(ran.status, report),
    anomalies: anomaliesOf(ran.stdout),
    transactions: lines.filter(({ type }) => type === 'ok').length,
    report: report.slice(0, 20_000),
  }
}

/** Exit status 0: valid; 1: anomalies; 2: nothing known; 3: the history could not be read. */
function verdictOf(status: number | null, report: string): IsolationVerdict['verdict'] {
  if (status === 0) return 'valid'
  if (status === 1) return 'anomalies'
  if (status === 2 && !report.includes('cycle-search-timeout')) return 'unknown'
  throw new Error(`the isolation checker gives up: ${report.slice(0, 2000)}`)
}

interface Line {
  readonly index: number
  readonly time: number
  readonly type: string
  readonly process: number
  readonly value: unknown
}

function linesOf(history: Iterable<HistoryEvent>, level: Level): Line[] {
  const lines: Line[] = []
  for (const event of history) {
    if (event.f !== 'lists' || event.level !== level) continue
    const { index, time, type, process, value } = event
    lines.push({ index, time, type, process, value })
  }
  return lines
}

function anomaliesOf(output: string): string[] {
  const found = /"anomaly_types":\s*\[([^\]]*)\]/.exec(output)?.[1] ?? ''
  return [...found.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? '')
}
