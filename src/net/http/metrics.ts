/** What /metrics shows, in Prometheus' text format: this process's own figures and those that prom-client has for every Node.js program. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  /** @param sqlState undefined: it succeeded */
  statement(kind: string, ms: number, sqlState: string | undefined): void
  /** A call that another node made here. */
  call(contract: string, method: string, ms: number, failed: boolean): void
  /** A call that this process made of another node. */
  madeCall(contract: string, method: string, ms: number, failed: boolean): void
  /** What is read when somebody looks. */
  onLook(look: (show: ShowValue) => void | Promise<void>): void
  text(): Promise<string>
}

/** A name that ends with _total counts up. Labels must be the same for every value of a name. */
export type ShowValue = (
  name: string,
  help: string,
  value: number,
  labels?: Readonly<Record<string, string>>,
) => void

/** From a tenth of a millisecond, which a search of a small table takes, to half a minute. */
const seconds = [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30]
const msPerSecond = 1000

export function openMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const statements = new Histogram({
    name: 'elanus_statement_seconds',
    help: 'Statements of clients by kind, from the message to the last row; commit is that of what came before Sync',
    labelNames: ['kind'],
    buckets: seconds,
    registers,
  })
  const failures = new Counter({
    name: 'elanus_statement_failures_total',
    help: 'Statements that ended with an error, by SQLSTATE',
    labelNames: ['kind', 'sqlstate'],
    registers,
  })
  const calls = new Histogram({
    name: 'elanus_call_seconds',
    help: 'Calls of other nodes that were answered here',
    labelNames: ['contract', 'method'],
    buckets: seconds,
    registers,
  })
  const callFailures = new Counter({
    name: 'elanus_call_failures_total',
    help: 'Calls of other nodes that were answered with an error',
    labelNames: ['contract', 'method'],
    registers,
  })
  const madeCalls = new Histogram({
    name: 'elanus_made_call_seconds',
    help: 'Calls that were made of other nodes, until their answer was read',
    labelNames: ['contract', 'method'],
    buckets: seconds,
    registers,
  })
  const madeCallFailures = new Counter({
    name: 'elanus_made_call_failures_total',
    help: 'Calls that were made of other nodes and got an error, or no answer',
    labelNames: ['contract', 'method'],
    registers,
  })
  const looks: ((show: ShowValue) => void | Promise<void>)[] = []
  const shown = new Map<string, Gauge | Counter>()
  const show: ShowValue = (name, help, value, labels = {}) => {
    let metric = shown.get(name)
    if (metric === undefined) {
      const Kind = name.endsWith('_total') ? Counter : Gauge
      metric = new Kind({ name, help, labelNames: Object.keys(labels), registers })
      shown.set(name, metric)
    }
    metric.inc(labels, value)
  }
  return {
    statement(kind, ms, sqlState) {
      statements.observe({ kind }, ms / msPerSecond)
      if (sqlState !== undefined) failures.inc({ kind, sqlstate: sqlState })
    },
    call(contract, method, ms, failed) {
      calls.observe({ contract, method }, ms / msPerSecond)
      if (failed) callFailures.inc({ contract, method })
    },
    madeCall(contract, method, ms, failed) {
      madeCalls.observe({ contract, method }, ms / msPerSecond)
      if (failed) madeCallFailures.inc({ contract, method })
    },
    onLook: (look) => void looks.push(look),
    async text() {
      // Begins at 0 each time: what is no more (a log channel given away) must not stay as it was.
      for (const metric of shown.values()) metric.reset()
      await Promise.all(looks.map((look) => look(show)))
      return await registry.metrics()
    },
  }
}
