/** The command `elanus`: one word chooses what is loaded, so that `start` does not pay for the others. */
import { print } from '#cli/print.js'
import { ConfigError } from '#config.js'

const help = `elanus <command>

  start         run the server: PostgreSQL protocol on port 5432, data in ./data
  demo          load 340,000 word vectors and search them with SQL
  bench         the same queries against several servers: recall, throughput, latency
  backup        copy a running database into a folder, here or in S3
  restore       put a backup into a running database
  recover-meta  make a lost meta store again, from object store and log
  inspect       print a file of the data directory in words
  help          this page; elanus <command> --help explains the command`

type Command = (args: readonly string[]) => Promise<void>

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  start: async () => (await import('#main.js')).main,
  demo: async () => (await import('#cli/demo/demo.js')).demo,
  bench: async () => (await import('#cli/bench/bench.js')).bench,
  backup: async () => (await import('#cli/backup/backup.js')).backup,
  restore: async () => (await import('#cli/backup/restore.js')).restore,
  'recover-meta': async () => (await import('#cli/recover-meta/recover-meta.js')).recoverMeta,
  inspect: async () => (await import('#cli/inspect/inspect.js')).inspect,
  help: async () => async () => print(help),
}

/** Runs one command; a mistake of the person who typed it is one line and exit code 2, a failure is one line and 1. */
export async function run(args: readonly string[]): Promise<void> {
  const [name = 'help', ...rest] = args
  const isHelp = name === '--help' || name === '-h'
  const load = Object.hasOwn(commands, isHelp ? 'help' : name)
    ? commands[isHelp ? 'help' : name]
    : undefined
  try {
    if (load === undefined) throw new ConfigError(`there is no command "${name}"\n\n${help}`)
    const command = await load()
    await command(rest)
  } catch (error) {
    process.stderr.write(`elanus ${name}: ${explain(error)}\n`)
    process.exitCode = error instanceof ConfigError ? 2 : 1
  }
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof ConfigError) return error.message
  // Connection errors to several addresses have no message of their own.
  return error instanceof AggregateError ? error.errors.map(explain).join('; ') : error.message
}
