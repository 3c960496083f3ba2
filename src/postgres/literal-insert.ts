/**
 * INSERT … VALUES whose values are literals, read without the grammar: drivers that put values into the text (psycopg2, every
 * simple query) send megabytes of it, in which only the values differ. What is left, the template
 * `INSERT INTO docs (id, e) VALUES ($1, $2)`, is what PostgreSQL judges, once.
 *
 * Taken is only what can have one meaning; anything else (escapes, comments, expressions, further clauses) is undefined: the
 * grammar reads it. Values are judged by whoever uses them; who cannot, takes the statement's tree.
 */

export type LiteralKind = 'null' | 'quoted' | 'integer' | 'decimal' | 'boolean' | 'default'

export interface Literal {
  readonly kind: LiteralKind
  /** Of its characters in the text, without quotes. */
  readonly from: number
  readonly to: number
  /** '' in it stands for '. */
  readonly doubled: boolean
  /** 'x'::type. Numbers with one are left to the grammar: it comes before the sign. */
  readonly cast: string | undefined
}

export interface LiteralInsert {
  /** With $n in place of the n-th value of each row, DEFAULT where it is DEFAULT. */
  readonly template: string
  /** What `from` and `to` count in. */
  readonly text: string
  /** Per row as many as the template has values; a DEFAULT is one in all rows. */
  readonly rows: readonly (readonly Literal[])[]
  /** The statement in the text: without blanks before it, and without semicolon. */
  readonly begin: number
  readonly end: number
}

const blank = /[ \t\n\r\f\v]*/y
const name = '(?:[A-Za-z_][A-Za-z0-9_]*|"[^"]+")'
const head = new RegExp(
  String.raw`[ \t\n\r\f\v]*INSERT[ \t\n\r]+INTO[ \t\n\r]+${name}(?:\.${name})?[ \t\n\r]*(?:\((?:[A-Za-z0-9_, \t\n\r]|"[^"]+")*\))?[ \t\n\r]*VALUES[ \t\n\r]*(?=\()`,
  'iy',
)
const tail = /^[ \t\n\r\f\v]*(?:RETURNING[ \t\n\r]+[A-Za-z0-9_", \t\n\r*.]+)?$/i
const tailLengthMax = 1000
const number = /-?\d{1,100}(\.\d{1,100})?/y
const word = /(null|true|false|default)(?![A-Za-z0-9_$])/iy
const cast = /::([a-z_][a-z0-9_]*)(?![A-Za-z0-9_$])/y

export function readLiteralInsert(text: string): LiteralInsert | undefined {
  head.lastIndex = 0
  if (!head.test(text) || text.includes('\\')) return undefined
  const reader = new Reader(text, head.lastIndex)
  const valuesAt = reader.at
  const rows: Literal[][] = []
  do {
    const row = reader.row()
    if (row === undefined || !sameShape(row, rows[0])) return undefined
    rows.push(row)
  } while (reader.skip(','))
  if (text.length - reader.at > tailLengthMax) return undefined
  const rest = text.slice(reader.at).replace(/;?[ \t\n\r\f\v]*$/, '')
  if (!tail.test(rest)) return undefined
  const begin = blanksAt(text, 0)
  const values = (rows[0] ?? []).map(({ kind }, i) =>
    kind === 'default' ? 'DEFAULT' : `$${i + 1}`,
  )
  return {
    template: `${text.slice(begin, valuesAt)}(${values.join(', ')})${rest}`,
    text,
    rows,
    begin,
    end: reader.at + rest.length,
  }
}

function sameShape(row: readonly Literal[], first: readonly Literal[] | undefined): boolean {
  if (first === undefined) return true
  if (row.length !== first.length) return false
  return row.every(({ kind }, i) => (kind === 'default') === (first[i]?.kind === 'default'))
}

/** The characters of a literal, '' made '. */
export function literalText({ text }: LiteralInsert, { from, to, doubled }: Literal): string {
  const raw = text.slice(from, to)
  return doubled ? raw.replaceAll("''", "'") : raw
}

class Reader {
  readonly #text: string
  at: number

  constructor(text: string, at: number) {
    this.#text = text
    this.at = at
  }

  /** The character after blanks, if it is this one. */
  skip(character: string): boolean {
    this.#skipBlanks()
    if (this.#text[this.at] !== character) return false
    this.at += 1
    return true
  }

  /** ( literal, … ) */
  row(): Literal[] | undefined {
    if (!this.skip('(')) return undefined
    const row: Literal[] = []
    do {
      this.#skipBlanks()
      const literal = this.#text[this.at] === "'" ? this.#quoted() : this.#bare()
      if (literal === undefined) return undefined
      row.push(literal)
    } while (this.skip(','))
    return this.skip(')') ? row : undefined
  }

  #skipBlanks(): void {
    this.at = blanksAt(this.#text, this.at)
  }

  #quoted(): Literal | undefined {
    const text = this.#text
    const from = this.at + 1
    let doubled = false
    let to = text.indexOf("'", from)
    while (to >= 0 && text[to + 1] === "'") {
      doubled = true
      to = text.indexOf("'", to + 2)
    }
    if (to < 0) return undefined
    this.at = to + 1
    return { kind: 'quoted', from, to, doubled, cast: this.#cast() }
  }

  #bare(): Literal | undefined {
    const from = this.at
    const digits = matchAt(number, this.#text, from)
    const found = digits ?? matchAt(word, this.#text, from)
    if (found === null) return undefined
    const to = from + found[0].length
    this.at = to
    if (digits !== null) {
      const kind = digits[1] === undefined ? 'integer' : 'decimal'
      return { kind, from, to, doubled: false, cast: undefined }
    }
    const kind = kindOf(found[0])
    return { kind, from, to, doubled: false, cast: kind === 'null' ? this.#cast() : undefined }
  }

  #cast(): string | undefined {
    const found = matchAt(cast, this.#text, this.at)
    if (found === null) return undefined
    this.at += found[0].length
    return found[1]
  }
}

function blanksAt(text: string, at: number): number {
  blank.lastIndex = at
  blank.test(text)
  return blank.lastIndex
}

function kindOf(found: string): LiteralKind {
  const lower = found.toLowerCase()
  return lower === 'null' || lower === 'default' ? lower : 'boolean'
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}
