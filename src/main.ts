/** `elanus start`: the server in this process, until a signal ends it. */
import { availableParallelism, totalmem } from 'node:os'
import { assembleStandalone, type StandaloneEvents, storePassword } from '#assemble.js'
import { defaultMemory } from '#base/memory-division.js'
import { type Config, ConfigError, parseConfig, readBootstrapPassword } from '#config.js'

export async function main(args: readonly string[]): Promise<void> {
  const parsed = parseConfig(args, process.env, {
    processorCount: availableParallelism(),
    memoryBytes: defaultMemory(totalmem(), process.constrainedMemory()),
  })
  if (parsed.kind === 'help') {
    process.stdout.write(`elanus start\n\n${parsed.text}\n`)
    return
  }
  const { config } = parsed
  const log = openLog(config.logLevel)
  // The add-on reads it when its pool starts.
  process.env['ELANUS_NATIVE_THREADS'] ??= String(config.threads)
  const password = readPassword(config)
  const events: StandaloneEvents = {
    problem: (what, error) => log('error', `${what}: ${describe(error)}`),
    retry: (what, error) => log('warn', `${what}: ${describe(error)}`),
    fatal: (error) => {
      // Acknowledged writes are in the log; the next start reads them.
      log('error', `stopping after a failure of the log: ${describe(error)}`)
      process.exit(1)
    },
  }
  const server = await open(config, events, password, log)
  stopOnSignal(server, log)
  if (server.httpPort !== undefined) {
    log('info', `http://${server.host}:${server.httpPort}/metrics`)
  }
  const isProxy = config.node?.includes('proxy') ?? true
  process.stdout.write(
    isProxy
      ? `Elanus is ready: psql -h ${server.host} -p ${server.port} -U ${config.user} postgres\n`
      : `Elanus is ready: ${config.node?.join(', ')}\n`,
  )
}

async function open(
  config: Config,
  events: StandaloneEvents,
  password: string | undefined,
  log: Log,
) {
  if (config.node !== undefined) {
    const { assembleNode } = await import('#assemble-node.js')
    return await assembleNode(config, events, password).catch((error: unknown) => {
      log('error', describe(error))
      // What is half open must not keep the process alive.
      process.exit(1)
    })
  }
  if (password !== undefined) await storePassword(config, config.user, password)
  return await assembleStandalone(config, events)
}

/** @throws ConfigError when nobody could log in */
function readPassword(config: Config): string | undefined {
  if (config.auth === 'trust') return undefined
  const password = readBootstrapPassword(config)
  if (password === undefined) {
    throw new ConfigError('--auth scram-sha-256 needs --password-file FILE or ELANUS_PASSWORD')
  }
  return password
}

function stopOnSignal(server: { stop(): Promise<void> }, log: Log): void {
  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      // Whoever presses Ctrl-C again does not want to wait; service managers may well say SIGTERM twice.
      if (signal === 'SIGINT') endNow()
      return
    }
    stopping = true
    log('info', 'stopping: idle clients go, transactions may end')
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log('error', `could not stop in order: ${describe(error)}`)
        endNow()
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

/**
 * Ends at once. Not process.exit: that joins libuv's threads, and a transaction of the meta store under way waits on
 * one of them for the very event loop that has stopped.
 */
function endNow(): void {
  process.kill(process.pid, 'SIGKILL')
}

/** Least severe last: a level writes itself and what stands before it. */
const levels = ['error', 'warn', 'info'] as const
type Level = (typeof levels)[number]
type Log = (level: Level, line: string) => void

function openLog(least: Level): Log {
  return (level, line) => {
    if (levels.indexOf(level) > levels.indexOf(least)) return
    process.stderr.write(`${new Date().toISOString()} ${level} ${line}\n`)
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : ` (${describe(error.cause)})`
  return `${error.stack ?? error.message}${cause}`
}
