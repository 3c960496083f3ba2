/**
 * Splits a query string into statements and says what each is, without PostgreSQL: libpg_query, the same grammar in
 * WebAssembly. Pure apart from a bounded cache; loadParser() once, everything after is synchronous (about 30 µs for a
 * statement that is not in the cache).
 */
import { hasSqlDetails, loadModule, parseSync } from 'libpg-query'
import { DatabaseError, SqlState } from '#base/errors.js'
import { type LiteralInsert, readLiteralInsert } from '#postgres/literal-insert.js'
import { type StatementKind, statementKindOf } from '#postgres/statement-kinds.js'
import type { TreeNode } from '#postgres/tree-node.js'

export type { TreeNode }

export interface ParsedStatement {
  /** Text of this statement alone: no semicolon, no blanks or comments before it. */
  readonly sql: string
  /** Where `sql` begins in the whole string, in characters: add it to positions in errors. */
  readonly offset: number
  readonly kind: StatementKind
  /** Name of the node's type: 'SelectStmt', 'CreateStmt' … */
  readonly nodeTag: string
  /** The node's fields. Locations in it are UTF-8 bytes of the whole string. */
  readonly tree: TreeNode
  /** Byte in the whole string at which `sql` begins: subtract it from locations in `tree`. */
  readonly byteOffset: number
  /** Of INSERT … VALUES with nothing but literals. The tree is made when somebody asks for it. */
  readonly literals?: ParsedLiterals
}

export interface ParsedLiterals extends LiteralInsert {
  readonly parsedTemplate: ParsedStatement
}

// Statements of an application repeat; texts with literals in them do not, hence both bounds.
const cachedTextCountMax = 2_000
const cachedTextLengthMax = 8_192
const cache = new Map<string, readonly ParsedStatement[]>()

/** Waits until the parser can be used. May be called any number of times. */
export function loadParser(): Promise<void> {
  return loadModule()
}

/**
 * The statements of a simple query or of Parse; none if there are only blanks, comments and semicolons.
 * @throws DatabaseError 42601 (and what else the grammar raises) with PostgreSQL's words and position
 */
export function parseStatements(text: string): readonly ParsedStatement[] {
  const cached = cache.get(text)
  if (cached !== undefined) {
    cache.delete(text)
    cache.set(text, cached)
    return cached
  }
  const statements = parseLiteralInsert(text) ?? parseUncached(text)
  if (text.length <= cachedTextLengthMax) {
    cache.set(text, statements)
    if (cache.size > cachedTextCountMax) {
      for (const oldest of cache.keys()) {
        cache.delete(oldest)
        break
      }
    }
  }
  return statements
}

function parseLiteralInsert(text: string): readonly ParsedStatement[] | undefined {
  const literals = readLiteralInsert(text)
  if (literals === undefined) return undefined
  let parsedTemplate: ParsedStatement | undefined
  try {
    ;[parsedTemplate] = parseStatements(literals.template)
  } catch {
    // Said again, with the right position, of the whole text.
  }
  if (parsedTemplate?.kind !== 'insert') return undefined
  const { begin, end } = literals
  let tree: TreeNode | undefined
  const statement = {
    sql: text.slice(begin, end).trim(),
    offset: begin,
    kind: parsedTemplate.kind,
    nodeTag: parsedTemplate.nodeTag,
    get tree() {
      tree ??= parseUncached(text)[0]?.tree ?? {}
      return tree
    },
    // Blanks are ASCII: bytes are characters.
    byteOffset: begin,
    literals: { ...literals, parsedTemplate },
  }
  return [statement]
}

interface RawStatement {
  readonly stmt?: TreeNode
  readonly stmt_location?: number
  readonly stmt_len?: number
}

function parseUncached(text: string): readonly ParsedStatement[] {
  if (text === '') return []
  // PostgreSQL's strings end at a zero byte; the protocol cannot carry one, but a caller could.
  if (text.includes('\0'))
    throw new DatabaseError(SqlState.syntaxError, 'syntax error at zero byte')
  const raw = (parseRaw(text).stmts ?? []) as readonly RawStatement[]
  const bytes = Buffer.byteLength(text) === text.length ? undefined : Buffer.from(text)
  const out: ParsedStatement[] = []
  let charsBefore = 0
  let bytesBefore = 0
  for (const { stmt, stmt_location: start = 0, stmt_len: length = 0 } of raw) {
    if (stmt === undefined) continue
    const [nodeTag, fields] = Object.entries(stmt)[0] ?? ['', {}]
    let sliced: string
    if (bytes === undefined) {
      sliced = length === 0 ? text.slice(start) : text.slice(start, start + length)
      charsBefore = start
    } else {
      charsBefore += bytes.toString('utf8', bytesBefore, start).length
      bytesBefore = start
      sliced = bytes.toString('utf8', start, length === 0 ? bytes.length : start + length)
    }
    const blanks = sliced.length - sliced.trimStart().length
    out.push({
      sql: sliced.trim(),
      offset: charsBefore + blanks,
      kind: statementKindOf(nodeTag, fields as TreeNode),
      nodeTag,
      tree: fields as TreeNode,
      // Blanks that the lexer skips are ASCII: bytes are characters.
      byteOffset: start + blanks,
    })
  }
  return out
}

function parseRaw(text: string): { readonly stmts?: readonly unknown[] } {
  try {
    return parseSync(text) as { readonly stmts?: readonly unknown[] }
  } catch (error) {
    if (hasSqlDetails(error)) {
      const { message, cursorPosition } = error.sqlDetails ?? {
        message: error.message,
        cursorPosition: 0,
      }
      // libpg_query does not tell the SQLSTATE; the grammar's few others can be told by their words.
      throw new DatabaseError(grammarSqlState(message), message, { position: cursorPosition + 1 })
    }
    if (error instanceof RangeError || (error instanceof Error && error.name === 'RuntimeError')) {
      throw new DatabaseError(SqlState.statementTooComplex, 'stack depth limit exceeded', {
        cause: error,
      })
    }
    throw error
  }
}

function grammarSqlState(message: string): string {
  if (/not (yet )?implemented|not supported/.test(message)) return SqlState.featureNotSupported
  if (/^invalid Unicode (escape|surrogate)/.test(message)) return SqlState.syntaxError
  if (/^memory exhausted/.test(message)) return SqlState.syntaxError
  if (/nonstandard use of|unsafe use of/.test(message)) return '22P06'
  if (/out of range/.test(message)) return SqlState.numericValueOutOfRange
  return SqlState.syntaxError
}
