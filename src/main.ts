/** `elanus start`: the server in this process, until a signal ends it. */
import { availableParallelism, totalmem } from 'node:os'
import { assembleStandalone, storePassword } from '#assemble.js'
import { type Config, ConfigError, parseConfig, readBootstrapPassword } from '#config.js'

export async function main(args: readonly string[]): Promise<void> {
  const parsed = parseConfig(args, process.env, {
    memoryBytes: totalmem(),
    processorCount: availableParallelism(),
  })
  if (parsed.kind === 'help') {
    process.stdout.write(`elanus start\n\n${parsed.text}\n`)
    return
  }
  const { config } = parsed
  process.env['ELANUS_NATIVE_THREADS'] ??= String(config.threads)
  await preparePassword(config)
  const server = await assembleStandalone(config, {
    problem: (what, error) => log(`${what}: ${describe(error)}`),
    fatal: (error) => {
      // Acknowledged writes are in the log; the next start reads them.
      log(`stopping after a failure of the log: ${describe(error)}`)
      endNow()
    },
  })
  stopOnSignal(server)
  if (server.httpPort !== undefined) log(`http://${server.host}:${server.httpPort}/metrics`)
  process.stdout.write(
    `Elanus is ready: psql -h ${server.host} -p ${server.port} -U ${config.user} postgres\n`,
  )
}

/** @throws ConfigError when nobody could log in */
async function preparePassword(config: Config): Promise<void> {
  if (config.auth === 'trust') return
  const password = readBootstrapPassword(config)
  if (password === undefined) {
    throw new ConfigError('--auth scram-sha-256 needs --password-file FILE or ELANUS_PASSWORD')
  }
  await storePassword(config.data, config.user, password)
}

function stopOnSignal(server: { stop(): Promise<void> }): void {
  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      // Whoever presses Ctrl-C again does not want to wait; service managers may well say SIGTERM twice.
      if (signal === 'SIGINT') endNow()
      return
    }
    stopping = true
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log(`could not stop in order: ${describe(error)}`)
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

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : ` (${describe(error.cause)})`
  return `${error.stack ?? error.message}${cause}`
}
