/** Flags of the tools (demo, bench, inspect): all optional, all with a value or none, some repeatable. */
import { ConfigError } from '#config.js'

export interface Flag {
  /** Stands for the value in help; undefined: the flag takes none. */
  readonly placeholder: string | undefined
  readonly meaning: string
}

export interface GivenArguments {
  readonly flags: ReadonlyMap<string, readonly string[]>
  readonly rest: readonly string[]
}

/** @throws ConfigError naming the argument that is not understood */
export function readArguments(
  args: readonly string[],
  known: Readonly<Record<string, Flag>>,
): GivenArguments {
  const flags = new Map<string, string[]>()
  const rest: string[] = []
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (!arg.startsWith('--')) {
      rest.push(arg)
      continue
    }
    const equals = arg.indexOf('=')
    const name = arg.slice(2, equals < 0 ? undefined : equals)
    const flag = Object.hasOwn(known, name) ? known[name] : undefined
    if (flag === undefined)
      throw new ConfigError(`unknown argument "${arg}"; --help lists what there is`)
    const value =
      equals >= 0 ? arg.slice(equals + 1) : flag.placeholder === undefined ? '' : args[++i]
    if (value === undefined)
      throw new ConfigError(`--${name} needs a value: --${name} ${flag.placeholder}`)
    flags.set(name, [...(flags.get(name) ?? []), value])
  }
  return { flags, rest }
}

export function flagText(given: GivenArguments, name: string): string | undefined {
  return given.flags.get(name)?.at(-1)
}

/** @throws ConfigError */
export function flagNumber(given: GivenArguments, name: string, defaultValue: number): number {
  const text = flagText(given, name)
  return text === undefined ? defaultValue : parseNumber(name, text)
}

/** A list with commas. @throws ConfigError */
export function flagNumbers(
  given: GivenArguments,
  name: string,
  defaultValues: readonly number[],
): readonly number[] {
  const text = flagText(given, name)
  if (text === undefined) return defaultValues
  if (text === '' || text === 'none') return []
  return text.split(',').map((part) => parseNumber(name, part))
}

function parseNumber(name: string, text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value
  throw new ConfigError(`--${name}: "${text}" is not a number`)
}

export function describeFlags(known: Readonly<Record<string, Flag>>): string {
  const names = Object.entries(known).map(([name, { placeholder }]) =>
    placeholder === undefined ? `--${name}` : `--${name} ${placeholder}`,
  )
  const width = Math.max(...names.map((name) => name.length))
  return Object.values(known)
    .map(({ meaning }, i) => `  ${(names[i] ?? '').padEnd(width)}  ${meaning}`)
    .join('\n')
}
