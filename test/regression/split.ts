/**
 * The statements of a script for psql, as PostgreSQL's regression tests are: psql's own commands are left out, COPY … FROM stdin becomes
 * one INSERT a row.
 */
const quoted = /^'(?:[^']|'')*'/
const escaped = /^'(?:[^'\\]|''|\\[\s\S])*'/
const identifier = /^"(?:[^"]|"")*"/
const dollar = /^(\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$)[\s\S]*?\1/
const copyFromStdin = /^copy\s+([\w."]+)\s*(\([^)]*\))?\s*from\s+stdin\b/i

export function splitScript(text: string): readonly string[] {
  const statements: string[] = []
  let statement = ''
  let depth = 0
  let at = 0
  const lineEnd = (from: number): number => {
    const end = text.indexOf('\n', from)
    return end < 0 ? text.length : end
  }
  const end = (): void => {
    if (/[^;\s]/.test(statement)) statements.push(statement.trim())
    statement = ''
  }
  while (at < text.length) {
    const rest = text.slice(at, at + 20_000)
    const comment = rest.startsWith('/*') ? commentLength(text, at) : 0
    if (rest.startsWith('--')) at = lineEnd(at)
    else if (comment > 0) at += comment
    else if (rest.startsWith('\\')) {
      // \gset and the like end a statement.
      if (/^\\g/.test(rest)) end()
      at = lineEnd(at)
    } else {
      const isEscape = /(^|[^A-Za-z0-9_])e$/i.test(statement)
      const isName = /[A-Za-z0-9_]$/.test(statement)
      const whole =
        (isEscape ? escaped : quoted).exec(rest)?.[0] ??
        identifier.exec(rest)?.[0] ??
        (isName ? undefined : dollar.exec(rest)?.[0])
      const piece = whole ?? rest.charAt(0)
      statement += piece
      at += piece.length
      if (piece === '(') depth += 1
      if (piece === ')') depth = Math.max(0, depth - 1)
      if (piece !== ';' || depth > 0 || isInBody(statement)) continue
      const copied = copyFromStdin.exec(statement.trim().replace(/\s+/g, ' '))
      if (copied === null) end()
      else {
        at = addRows(text, lineEnd(at) + 1, copied, statements)
        statement = ''
      }
    }
  }
  end()
  return statements
}

function commentLength(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; ) {
    const two = text.slice(at, at + 2)
    if (two === '/*') depth += 1
    if (two === '*/') depth -= 1
    at += two === '/*' || two === '*/' ? 2 : 1
    if (depth === 0) return at - from
  }
  return text.length - from
}

/** BEGIN ATOMIC … END of a function in SQL. */
function isInBody(statement: string): boolean {
  if (!/\bbegin\s+atomic\b/i.test(statement)) return false
  const opened = statement.match(/\b(begin\s+atomic|case)\b/gi)?.length ?? 0
  const closed = statement.match(/\bend\b/gi)?.length ?? 0
  return closed < opened
}

/** @returns where the script goes on */
function addRows(text: string, from: number, copied: RegExpExecArray, out: string[]): number {
  const stop = text.indexOf('\n\\.', from - 1)
  const [, table = '', columns = ''] = copied
  for (const line of text.slice(from, Math.max(from, stop)).split('\n')) {
    if (line === '') continue
    const values = line
      .split('\t')
      .map((value) => (value === '\\N' ? 'NULL' : `'${value.replaceAll("'", "''")}'`))
    out.push(`INSERT INTO ${table} ${columns} VALUES (${values.join(', ')});`)
  }
  const end = text.indexOf('\n', stop + 1)
  return end < 0 ? text.length : end
}
