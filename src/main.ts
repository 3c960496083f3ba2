/** `elanus start`: the server in this process, until a signal ends it. */
import { availableParallelism, hostname, totalmem } from 'node:os'
import { assembleStandalone, type StandaloneEvents, storePassword } from '#assemble.js'
import { describeError, type Log, openLog } from '#base/log.js'
import { defaultMemory } from '#base/memory-division.js'
import { logRepeated } from '#base/repeated-log.js'
import { systemRuntime } from '#base/system-runtime.js'
import {
  advertised,
  type Config,
  ConfigError,
  parseConfig,
  readBootstrapPassword,
} from '#config.js'
import { type Operations, openOperations } from '#operations.js'

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
  const log = openLog({
    least: config.logLevel,
    format: config.logFormat,
    always: {
      node: config.node?.join(',') ?? 'standalone',
      address: config.node === undefined ? hostname() : advertised(config),
    },
    now: () => new Date(),
    write: (line) => process.stderr.write(line),
  })
  // The add-on reads it when its pool starts.
  process.env['ELANUS_NATIVE_THREADS'] ??= String(config.threads)
  const isProxy = config.node?.includes('proxy') ?? true
  const password = isProxy ? readPassword(config) : undefined
  const events: StandaloneEvents = {
    problem: (what, error) => log('error', what, { error: describeError(error) }),
    retry: logRepeated(log, systemRuntime),
    fatal: (error) => {
      // Acknowledged writes are in the log; the next start reads them.
      log('error', 'stopping after a failure of the log', { error: describeError(error) })
      process.exit(1)
    },
  }
  const operations = await openOperations(config, log)
  if (operations.httpPort !== undefined) {
    log('info', `http://${config.host}:${operations.httpPort}/metrics`)
  }
  const server = await open(config, events, operations, password, log)
  operations.started()
  stopOnSignal(server, operations, log)
  process.stdout.write(
    isProxy
      ? `Elanus is ready: psql -h ${server.host} -p ${server.port} -U ${config.user} postgres\n`
      : `Elanus is ready: ${config.node?.join(', ')}\n`,
  )
}

async function open(
  config: Config,
  events: StandaloneEvents,
  operations: Operations,
  password: string | undefined,
  log: Log,
) {
  if (config.node !== undefined) {
    const { assembleNode } = await import('#assemble-node.js')
    return await assembleNode(config, events, operations, password).catch((error: unknown) => {
      log('error', 'cannot start', { error: describeError(error) })
      // What is half open must not keep the process alive.
      process.exit(1)
    })
  }
  if (password !== undefined) await storePassword(config, config.user, password)
  return await assembleStandalone(config, events, operations)
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

function stopOnSignal(server: { stop(): Promise<void> }, operations: Operations, log: Log): void {
  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      // Whoever presses Ctrl-C again does not want to wait; service managers may well say SIGTERM twice.
      if (signal === 'SIGINT') endNow()
      return
    }
    stopping = true
    operations.stopping()
    log('info', 'stopping: idle clients go, transactions may end')
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log('error', 'could not stop in order', { error: describeError(error) })
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
