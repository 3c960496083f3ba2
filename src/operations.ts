/**
 * What a process shows to whoever operates it: /livez, /readyz and /metrics from its first moment on, and the log's lines on
 * statements and calls that took long.
 */
import type { Log } from '#base/log.js'
import type { MemoryPart } from '#base/memory-parts.js'
import type { Config } from '#config.js'
import { type Metrics, openMetrics } from '#net/http/metrics.js'
import { openHttpServer } from '#net/http/server.js'
import type { MadeCall } from '#net/rpc/rpc-client.js'
import type { ServedCall } from '#net/rpc/rpc-server.js'
import type { StatementReport } from '#nodes/proxy/environment.js'
import type { JobKind, StreamingNode } from '#nodes/streaming/contract.js'

export interface Operations {
  /** undefined: none was asked for. */
  readonly httpPort: number | undefined
  readonly metrics: Metrics
  /** One of what /readyz asks; undefined: well. */
  check(name: string, look: () => Readiness | Promise<Readiness>): void
  /** From now on /readyz asks the checks; before it says what is going on. */
  started(): void
  /** /readyz says no: no new clients, please. */
  stopping(): void
  readonly onStatement: (report: StatementReport) => void
  readonly onCall: (call: ServedCall) => void
  readonly onMadeCall: (call: MadeCall) => void
  close(): Promise<void>
}

/** What is wrong, in one line. */
export type Readiness = string | undefined

const sqlShownMax = 1000
const checkMsMax = 3000

/** @throws the error of listen */
export async function openOperations(config: Config, log: Log): Promise<Operations> {
  const metrics = openMetrics()
  const checks = new Map<string, () => Readiness | Promise<Readiness>>()
  let phase: 'starting' | 'started' | 'stopping' = 'starting'
  const http =
    config.httpPort === 0
      ? undefined
      : await openHttpServer({
          host: config.host,
          port: config.httpPort,
          livez: () => undefined,
          async readyz() {
            if (phase !== 'started') return phase
            const found = await Promise.all(
              [...checks].map(async ([name, look]) => {
                const trouble = await inTime(look)
                return trouble === undefined ? [] : [`${name}: ${trouble}`]
              }),
            )
            const troubles = found.flat()
            return troubles.length === 0 ? undefined : troubles.join('\n')
          },
          metrics: () => metrics.text(),
        })
  const isSlow = (ms: number): boolean => config.logSlow > 0 && ms >= config.logSlow
  return {
    httpPort: http?.port,
    metrics,
    check: (name, look) => void checks.set(name, look),
    started() {
      phase = 'started'
    },
    stopping() {
      phase = 'stopping'
    },
    onStatement({ kind, sql, queryId, user, ms, sqlState }) {
      metrics.statement(kind, ms, sqlState)
      if (!isSlow(ms)) return
      const shown = sql === undefined ? undefined : sql.slice(0, sqlShownMax)
      log('info', 'slow statement', { queryId, kind, ms: rounded(ms), user, sqlState, sql: shown })
    },
    onCall({ contract, object, method, queryId, ms, error }) {
      metrics.call(contract, method, ms, error !== undefined)
      if (!isSlow(ms)) return
      log('info', 'slow call', {
        queryId: queryId === '' ? undefined : queryId,
        call: `${contract}.${method}`,
        object: object === '' ? undefined : object,
        ms: rounded(ms),
        error: error instanceof Error ? error.message : undefined,
      })
    },
    onMadeCall({ contract, method, ms, failed }) {
      metrics.madeCall(contract, method, ms, failed)
    },
    close: async () => http?.close(),
  }
}

/** A check that does not answer is an answer. */
async function inTime(look: () => Readiness | Promise<Readiness>): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Readiness>((resolve) => {
    timer = setTimeout(() => resolve(`no answer in ${checkMsMax / 1000} s`), checkMsMax)
  })
  try {
    return await Promise.race([Promise.resolve(look()), late])
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    clearTimeout(timer)
  }
}

export function showMemory({ metrics }: Operations, parts: () => readonly MemoryPart[]): void {
  metrics.onLook((show) => {
    for (const { name, usedBytes, budgetBytes, events } of parts()) {
      const part = { part: name }
      show(
        'elanus_memory_used_bytes',
        'What a part of the memory holds',
        Math.round(usedBytes),
        part,
      )
      show('elanus_memory_budget_bytes', 'What it may hold', Math.round(budgetBytes), part)
      for (const [event, count] of Object.entries(events)) {
        const labels = { ...part, event }
        show('elanus_memory_events_total', 'What short memory did, since the start', count, labels)
      }
    }
  })
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** Of the log channels that are owned here. */
export function showLogChannels(
  { metrics }: Operations,
  nodes: () => readonly StreamingNode[],
): void {
  metrics.onLook(async (show) => {
    for (const node of nodes()) {
      // Given away at this moment: its next owner tells.
      const found = await node.activity().catch(() => undefined)
      if (found === undefined) continue
      const log = { log_channel: found.logChannel }
      show('elanus_log_channel_term', 'Rises with every owner', found.term, log)
      show('elanus_log_channel_bytes', 'Of the log, as far as it is kept', found.logBytes, log)
      show('elanus_log_channel_shards', 'Shards of tables', found.shardCount, log)
      for (const kind of jobKinds) {
        for (const state of ['running', 'waiting'] as const) {
          const count = found.jobs.filter((job) => job.kind === kind && job.state === state).length
          show('elanus_jobs', 'Background work on segments', count, { ...log, kind, state })
        }
      }
    }
  })
}

const jobKinds: readonly JobKind[] = ['flush', 'build index', 'compact', 'write deletes']
