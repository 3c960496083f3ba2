import { DatabaseError, SqlState } from '#base/errors.js'

/**
 * The settings in the startup parameter `options`, as PostgreSQL's pg_split_opts() and
 * process_postgres_switches() read it: words parted by spaces, `\` protects one character;
 * `-c name=value`, `-cname=value` or `--name=value`, in which `-` in a name means `_`.
 * @throws 42601 for what is not one of those
 */
export function parseStartupOptions(options: string): [name: string, value: string][] {
  const settings: [string, string][] = []
  const words = splitWords(options)
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? ''
    let assignment: string | undefined
    if (word === '-c') {
      index += 1
      assignment = words[index]
    } else if (word.startsWith('-c') || word.startsWith('--')) {
      assignment = word.slice(2)
    }
    const equals = assignment?.indexOf('=') ?? -1
    if (assignment === undefined || equals < 1) {
      const shown = assignment === undefined ? word : `${word === '-c' ? '-c ' : ''}${assignment}`
      throw new DatabaseError(
        SqlState.syntaxError,
        `invalid command-line argument for server process: ${shown}`,
        { severity: 'FATAL' },
      )
    }
    settings.push([assignment.slice(0, equals).replaceAll('-', '_'), assignment.slice(equals + 1)])
  }
  return settings
}

function splitWords(options: string): string[] {
  const words: string[] = []
  for (const match of options.matchAll(/(?:\\.|[^\s\\])+|\\$/gsu)) {
    words.push(match[0].replace(/\\(.?)/gsu, '$1'))
  }
  return words
}
