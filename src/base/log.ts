/** What a process says of itself, a line each on standard error: for people, or as JSON for whatever collects logs. */

/** Least severe last: a level writes itself and what stands before it. */
export const logLevels = ['error', 'warn', 'info'] as const
export type LogLevel = (typeof logLevels)[number]

/** Undefined fields are left out. */
export type LogFields = Readonly<Record<string, string | number | undefined>>

export type Log = (level: LogLevel, message: string, fields?: LogFields) => void

export interface LogOptions {
  readonly least: LogLevel
  readonly format: 'text' | 'json'
  /** In every JSON line: which node it is. */
  readonly always: LogFields
  readonly now: () => Date
  readonly write: (line: string) => void
}

export function openLog({ least, format, always, now, write }: LogOptions): Log {
  return (level, message, fields = {}) => {
    if (logLevels.indexOf(level) > logLevels.indexOf(least)) return
    const time = now().toISOString()
    if (format === 'json') {
      write(`${JSON.stringify({ time, level, message, ...always, ...fields })}\n`)
      return
    }
    const shown = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => ` ${name}=${shownValue(value)}`)
    write(`${time} ${level} ${message}${shown.join('')}\n`)
  }
}

/** As it is when that is one word. */
function shownValue(value: string | number | undefined): string {
  const text = String(value)
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text)
}

/** With its stack and its causes. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : ` (${describeError(error.cause)})`
  return `${error.stack ?? error.message}${cause}`
}
