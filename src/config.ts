/**
 * Every setting of a process, once: the name gives the flag (`--max-connections`) and the environment variable
 * (`ELANUS_MAX_CONNECTIONS`), the entry its meaning, default and form. A flag wins over the environment.
 * Parsing is pure; what it needs of the machine is passed in.
 */
import { readFileSync } from 'node:fs'
import { leastMemory } from '#base/memory-division.js'

/** Something a person typed is wrong. The message says what to do; nothing else is worth printing. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ConfigError'
  }
}

interface Setting<T> {
  /** What stands for the value in --help. */
  readonly placeholder: string
  readonly meaning: string
  /** As a person would write it; undefined = not set. */
  readonly defaultText: string | undefined
  /** False for what must not show in the list of processes: only the environment variable is read. */
  readonly hasFlag: boolean
  /** @throws ConfigError without the setting's name, which the caller puts in front */
  parse(text: string): T
}

interface Described {
  readonly placeholder?: string
  readonly meaning: string
  readonly hasFlag?: boolean
}

function setting<T>(
  defaultText: string,
  placeholder: string,
  described: Described,
  parse: (text: string) => T,
): Setting<T> {
  return { defaultText, placeholder, hasFlag: true, ...described, parse }
}

function text(defaultText: string, placeholder: string, meaning: string): Setting<string> {
  return setting(defaultText, placeholder, { meaning }, (given) => {
    if (given === '') throw new ConfigError('must not be empty')
    return given
  })
}

function optionalInteger(
  min: number,
  max: number,
  described: Described,
): Setting<number | undefined> {
  return {
    defaultText: undefined,
    placeholder: 'N',
    hasFlag: true,
    ...described,
    parse: integer('', min, max, '').parse,
  }
}

function optionalText(placeholder: string, described: Described): Setting<string | undefined> {
  const parse = (given: string) => (given === '' ? undefined : given)
  return { defaultText: undefined, placeholder, hasFlag: true, ...described, parse }
}

const nodeKindNames = ['proxy', 'coordinator', 'streaming', 'query', 'data'] as const
export type NodeKind = (typeof nodeKindNames)[number]

function nodeKinds(described: Described): Setting<readonly NodeKind[] | undefined> {
  const parse = (given: string) =>
    given.split(',').map((word) => {
      const kind = nodeKindNames.find((name) => name === word.trim())
      if (kind !== undefined) return kind
      throw new ConfigError(`"${word}" is none of ${nodeKindNames.join(', ')}`)
    })
  return { defaultText: undefined, placeholder: 'LIST', hasFlag: true, ...described, parse }
}

function integer(
  defaultText: string,
  min: number,
  max: number,
  meaning: string,
  placeholder = 'N',
): Setting<number> {
  return setting(defaultText, placeholder, { meaning }, (given) => {
    const value = Number(given)
    if (/^\d+$/.test(given) && value >= min && value <= max) return value
    throw new ConfigError(`"${given}" is not a whole number from ${min} to ${max}`)
  })
}

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  kb: 2 ** 10,
  mb: 2 ** 20,
  gb: 2 ** 30,
  tb: 2 ** 40,
}

/** Bytes as PostgreSQL writes them: 64MB, 1.5GB; units are powers of 1024. */
function bytes(defaultText: string, min: number, meaning: string): Setting<number> {
  return setting(defaultText, 'SIZE', { meaning }, (given) => {
    const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmgt]?b)?$/i.exec(given) ?? []
    const value = Math.round(Number(digits) * (byteUnits[unit.toLowerCase()] ?? 1))
    if (digits === '') throw new ConfigError(`"${given}" is not a size such as 512MB or 2GB`)
    if (value < min)
      throw new ConfigError(`${given} is too small, the least is ${formatBytes(min)}`)
    return value
  })
}

function formatBytes(count: number): string {
  const unit = ['TB', 'GB', 'MB', 'kB'].find(
    (name) => count % (byteUnits[name.toLowerCase()] ?? 1) === 0,
  )
  return unit === undefined
    ? String(count)
    : `${count / (byteUnits[unit.toLowerCase()] ?? 1)}${unit}`
}

function choice<const T extends string>(
  defaultText: T,
  choices: readonly T[],
  meaning: string,
): Setting<T> {
  return setting(defaultText, choices.join('|'), { meaning }, (given) => {
    const found = choices.find((one) => one === given)
    if (found !== undefined) return found
    throw new ConfigError(`"${given}" is none of ${choices.join(', ')}`)
  })
}

const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds, as PostgreSQL writes them: 500ms, 60s, 5min, 2h, 1d. */
function duration(
  defaultText: string,
  minMs: number,
  maxMs: number,
  meaning: string,
): Setting<number> {
  return setting(defaultText, 'TIME', { meaning }, (given) => {
    const [, digits = '', unit = ''] = /^(\d+)\s*(ms|s|min|h|d)$/.exec(given) ?? []
    const value = Number(digits) * (durationUnits[unit] ?? 0)
    if (digits === '') throw new ConfigError(`"${given}" is not a time such as 60s, 5min or 2h`)
    if (value >= minMs && value <= maxMs) return value
    throw new ConfigError(`${given} is not from ${minMs / 1000}s to ${maxMs / 86_400_000}d`)
  })
}

/** What defaults depend on. */
export interface Machine {
  readonly processorCount: number
  /** What a process here should use when nobody says: base/memory-division.ts. */
  readonly memoryBytes: number
}

function settingsFor(machine: Machine) {
  return {
    data: text('./data', 'DIR', 'where log, meta store and objects lie; made if absent'),
    host: text(
      '127.0.0.1',
      'ADDRESS',
      'address to listen on; other than loopback needs --auth scram-sha-256',
    ),
    port: integer('5432', 0, 65535, 'port of the PostgreSQL protocol; 0: any free one', 'PORT'),
    httpPort: integer('0', 0, 65535, 'port of /livez, /readyz and /metrics; 0: none', 'PORT'),
    auth: choice(
      'trust',
      ['trust', 'scram-sha-256'],
      'who is let in: everybody on this machine, or who knows the password',
    ),
    user: text('postgres', 'NAME', 'the superuser that the password below belongs to'),
    passwordFile: optionalText('FILE', { meaning: "first line: that user's password" }),
    password: optionalText('…', { meaning: "that user's password", hasFlag: false }),
    maxConnections: integer(
      '100',
      1,
      65535,
      'clients at the same time; more are refused with 53300',
    ),
    logLevel: choice(
      'info',
      ['error', 'warn', 'info'],
      'least severe lines that are written to standard error',
    ),
    logFormat: choice(
      'text',
      ['text', 'json'],
      'lines for people, or an object a line for what collects logs',
    ),
    logSlow: duration(
      '0s',
      0,
      86_400_000,
      'statements and calls between nodes that take as long are told in the log, with the query id that is the same on all nodes; 0s: none',
    ),
    threads: integer(
      String(Math.max(1, machine.processorCount)),
      1,
      1024,
      'threads of the vector engine',
    ),
    evaluators: integer(
      '2',
      1,
      64,
      'embedded PostgreSQL instances for verbatim statements, about 220 MB each',
    ),
    memory: bytes(
      formatBytes(Math.floor(machine.memoryBytes / 2 ** 20) * 2 ** 20),
      2 ** 20,
      'memory of the process: its parts are docs/memory.md; writes wait and are refused (53200) before it is used up',
    ),
    cache: bytes('10GB', 64 * 2 ** 20, 'disk for copies of objects; only with --objects'),
    sealBytes: bytes(
      '512MB',
      2 ** 20,
      'a growing segment is sealed, flushed and indexed at this size',
    ),
    wal: optionalText('URL', {
      meaning:
        'log: kafka://HOST:PORT[,HOST:PORT…][/PREFIX][?replication=N], or objects://PREFIX in the object store; in the data directory unless given',
    }),
    meta: optionalText('URL', {
      meaning:
        'meta store: etcd://HOST:PORT[,HOST:PORT…][/PREFIX]; in the data directory unless given',
    }),
    objects: optionalText('URL', {
      meaning:
        'objects: s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME], keys from the environment as with AWS, or directory:///PATH that all nodes share; in the data directory unless given',
    }),
    logChannels: optionalInteger(1, 64, {
      meaning:
        'logs that the shards of tables are spread over; fixed when the database is made (then 1 unless given)',
    }),
    node: nodeKinds({
      meaning:
        'kinds of nodes that this process has in a cluster: some of proxy,coordinator,streaming,query,data; all by itself unless given',
    }),
    rpcPort: integer('7400', 1, 65535, 'port for the other nodes; only with --node', 'PORT'),
    advertise: optionalText('HOST:PORT', {
      meaning: 'where the other nodes reach this one; 127.0.0.1 and --rpc-port unless given',
    }),
    tlsAuthority: optionalText('FILE', {
      meaning: 'certificate authority of all nodes (PEM); without the three only loopback',
    }),
    tlsCertificate: optionalText('FILE', { meaning: "this node's certificate (PEM)" }),
    tlsKey: optionalText('FILE', { meaning: "this node's private key (PEM)" }),
    retention: duration(
      '60s',
      1000,
      30 * 86_400_000,
      'how long deleted rows stay readable for SET elanus.read_time',
    ),
  } as const satisfies Record<string, Setting<unknown>>
}

type Settings = ReturnType<typeof settingsFor>

/** One value per setting, with the names of settingsFor. */
export type Config = {
  readonly [Name in keyof Settings]: Settings[Name] extends Setting<infer Value> ? Value : never
}

export type ParsedConfig =
  | { readonly kind: 'config'; readonly config: Config }
  | { readonly kind: 'help'; readonly text: string }

/**
 * @param args what follows the command, as in process.argv.slice(n)
 * @throws ConfigError
 */
export function parseConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  machine: Machine,
): ParsedConfig {
  const settings: Readonly<Record<string, Setting<unknown>>> = settingsFor(machine)
  const flags = readFlags(args, settings)
  if (flags === 'help') return { kind: 'help', text: describeSettings(machine) }
  const values: Record<string, unknown> = {}
  for (const [name, one] of Object.entries(settings)) {
    const fromFlag = flags.get(name)
    const given = fromFlag ?? environment[environmentName(name)] ?? one.defaultText
    values[name] =
      given === undefined ? undefined : parseNamed(name, one, given, fromFlag !== undefined)
  }
  const config = values as unknown as Config
  checkExposure(config)
  checkMemory(config)
  checkCluster(config)
  return { kind: 'config', config }
}

function readFlags(
  args: readonly string[],
  settings: Readonly<Record<string, Setting<unknown>>>,
): ReadonlyMap<string, string> | 'help' {
  const flags = new Map<string, string>()
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (arg === '--help' || arg === '-h') return 'help'
    const [flag = '', inline] = splitOnce(arg)
    const name = Object.keys(settings).find((key) => flagName(key) === flag)
    if (name === undefined || settings[name]?.hasFlag !== true) {
      throw new ConfigError(unknownFlag(arg, flag, settings))
    }
    const value = inline ?? args[++i]
    if (value === undefined)
      throw new ConfigError(`${flag} needs a value: ${flag} ${settings[name].placeholder}`)
    flags.set(name, value)
  }
  return flags
}

function splitOnce(arg: string): readonly [string, string | undefined] {
  const at = arg.indexOf('=')
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)]
}

function unknownFlag(
  arg: string,
  flag: string,
  settings: Readonly<Record<string, Setting<unknown>>>,
): string {
  const hidden = Object.keys(settings).find((key) => flagName(key) === flag)
  if (hidden !== undefined) {
    return `${flag} would show in the list of processes: set ${environmentName(hidden)} or use --password-file`
  }
  return `unknown argument "${arg}"; elanus start --help lists what there is`
}

function parseNamed(name: string, one: Setting<unknown>, given: string, isFlag: boolean): unknown {
  try {
    return one.parse(given)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new ConfigError(`${isFlag ? flagName(name) : environmentName(name)}: ${error.message}`)
  }
}

/** Whoever can reach the port may do anything under trust: so only this machine may reach it. */
function checkExposure(config: Config): void {
  if (config.auth !== 'trust' || isLoopback(config.host)) return
  throw new ConfigError(
    `refusing to listen on ${config.host} without password authentication: add --auth scram-sha-256 and ` +
      '--password-file FILE (or set ELANUS_PASSWORD), or listen on 127.0.0.1',
  )
}

function checkMemory({ memory, evaluators }: Config): void {
  const least = leastMemory(postgresCount(evaluators))
  if (memory >= least) return
  throw new ConfigError(
    `--memory: ${formatBytes(memory)} is too small with ${evaluators} evaluators, the least is ${formatBytes(least)}`,
  )
}

/** Other nodes are let in without a password: only this machine's, or those with a certificate. */
function checkCluster(config: Config): void {
  if (config.node === undefined) return
  if (config.wal === undefined || config.meta === undefined || config.objects === undefined) {
    throw new ConfigError('--node needs what all nodes share: --wal, --meta and --objects')
  }
  const files = [config.tlsAuthority, config.tlsCertificate, config.tlsKey]
  const given = files.filter((file) => file !== undefined).length
  if (given > 0 && given < files.length) {
    throw new ConfigError('--tls-authority, --tls-certificate and --tls-key belong together')
  }
  const address = advertised(config)
  const [, host = ''] = /^\[?(.+?)\]?:\d+$/.exec(address) ?? []
  if (host === '') throw new ConfigError(`--advertise: "${address}" is not HOST:PORT`)
  if (given === 0 && !isLoopback(host)) {
    throw new ConfigError(
      `refusing to serve other nodes at ${host} without --tls-authority, --tls-certificate and --tls-key`,
    )
  }
}

/** host:port */
export function advertised({ advertise, rpcPort }: Pick<Config, 'advertise' | 'rpcPort'>): string {
  return advertise ?? `127.0.0.1:${rpcPort}`
}

/** The catalog, and a spare beside the evaluators. */
export function postgresCount(evaluators: number): number {
  return evaluators + 2
}

/** Only names and addresses that cannot mean another machine: 127.0.0.0/8, ::1, localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/**
 * The password that --auth scram-sha-256 starts with; undefined when none was given (one may be stored already).
 * @throws ConfigError when the file cannot be read or is empty
 */
export function readBootstrapPassword(config: Config): string | undefined {
  if (config.passwordFile === undefined) return config.password
  let content: string
  try {
    content = readFileSync(config.passwordFile, 'utf8')
  } catch (error) {
    throw new ConfigError(
      `--password-file: cannot read ${config.passwordFile}: ${(error as Error).message}`,
    )
  }
  const [line = ''] = content.split(/\r?\n/)
  if (line === '')
    throw new ConfigError(`--password-file: the first line of ${config.passwordFile} is empty`)
  return line
}

function flagName(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

function environmentName(name: string): string {
  return `ELANUS_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

export interface ListedSetting {
  readonly name: string
  /** With its placeholder; '' when there is only the variable. */
  readonly flag: string
  readonly variable: string
  readonly meaning: string
  readonly defaultText: string | undefined
}

/** Every setting in the order in which people need them. */
export function listSettings(machine: Machine): readonly ListedSetting[] {
  return Object.entries<Setting<unknown>>(settingsFor(machine)).map(([name, one]) => ({
    name,
    flag: one.hasFlag ? `${flagName(name)} ${one.placeholder}` : '',
    variable: environmentName(name),
    meaning: one.meaning,
    defaultText: one.defaultText,
  }))
}

/** What --help prints. */
export function describeSettings(machine: Machine): string {
  const settings = listSettings(machine)
  const flagWidth = Math.max(...settings.map(({ flag }) => flag.length))
  const variableWidth = Math.max(...settings.map(({ variable }) => variable.length))
  return settings
    .map(({ flag, variable, meaning, defaultText }) => {
      const explained = defaultText === undefined ? meaning : `${meaning} (${defaultText})`
      return `  ${flag.padEnd(flagWidth)}  ${variable.padEnd(variableWidth)}  ${explained}`
    })
    .join('\n')
}
