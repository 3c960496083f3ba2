/**
 * Takes out of a DDL statement what the embedded PostgreSQL does not know or need: storage options of ours and the word
 * CONCURRENTLY (tables are empty there, and it is not allowed in a transaction). The text is cut by the positions of
 * tokens, the rest stays as the user wrote it.
 */
import { scanSync } from 'libpg-query'
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { parseStatements, type TreeNode } from '#postgres/classify.js'
import type { DdlEntry } from '#postgres/contract.js'
import type { DdlStep, OptionsEdit } from '#postgres/jobs.js'
import { isTableOption } from '#postgres/option-names.js'
import { quoteIdentifier } from '#postgres/quote.js'
import { parseTtl } from '#postgres/ttl.js'

/** As many as one machine can search at the same time with room to spare; a cluster spreads tables, too. */
const shardCountMax = 64
const replicaCountMax = 16

/** @throws DatabaseError for values out of range */
export function prepareDdl(entry: Omit<DdlEntry, 'firstOid'> & { firstOid?: number }): DdlStep {
  const { sql, options } = stripDdl(entry.sql)
  return { sql, options, firstOid: entry.firstOid, settings: entry.settings }
}

interface Token {
  readonly start: number
  readonly end: number
  readonly text: string
}

interface Stripped {
  readonly sql: string
  readonly options: OptionsEdit | undefined
}

export function stripDdl(sql: string): Stripped {
  const [statement, ...more] = parseStatements(sql)
  if (statement === undefined) return { sql, options: undefined }
  if (more.length > 0) {
    throw new DatabaseError(
      SqlState.syntaxError,
      'cannot insert multiple commands into a DDL entry',
    )
  }
  const { nodeTag, tree } = statement
  if (tree['concurrent'] === true || isDetachConcurrently(tree)) {
    return { sql: blankConcurrently(sql), options: undefined }
  }
  if (nodeTag === 'CreateStmt') return stripCreate(sql, tree)
  if (nodeTag === 'AlterTableStmt') return stripAlter(sql, tree)
  return { sql, options: undefined }
}

interface OptionDefinition {
  readonly name: string
  readonly value: string | undefined
  readonly location: number
}

function stripCreate(sql: string, tree: TreeNode): Stripped {
  const all = readOptions(tree['options'])
  const ours = all.filter(({ name }) => isTableOption(name))
  if (ours.length === 0) return { sql, options: undefined }
  const set = ours.map((option): [string, string] => [option.name, checkedValue(option)])
  const relation = relationText(tree['relation'] as TreeNode)
  return {
    sql: cutOptions(sql, ours, all.length),
    options: { relation, kind: 'create', set, reset: [] },
  }
}

function stripAlter(sql: string, tree: TreeNode): Stripped {
  const commands = ((tree['cmds'] ?? []) as readonly TreeNode[]).map(
    (item) => (item['AlterTableCmd'] ?? {}) as TreeNode,
  )
  const set: [string, string][] = []
  const reset: string[] = []
  let text = sql
  let touchesOptions = false
  for (const command of commands) {
    const subtype = command['subtype']
    if (subtype !== 'AT_SetRelOptions' && subtype !== 'AT_ResetRelOptions') continue
    touchesOptions = true
    const definition = (command['def'] as TreeNode | undefined)?.['List'] as TreeNode | undefined
    const all = readOptions(definition?.['items'])
    const ours = all.filter(({ name }) => isTableOption(name))
    if (ours.length === 0) continue
    if (subtype === 'AT_ResetRelOptions') reset.push(...ours.map(({ name }) => name))
    else set.push(...ours.map((option): [string, string] => [option.name, checkedValue(option)]))
    if (commands.length > 1 || all.length > ours.length) {
      if (subtype === 'AT_SetRelOptions' && all.length > ours.length && commands.length === 1) {
        text = cutOptions(text, ours, all.length)
        continue
      }
      throw notSupported('storage options of Elanus must be set by an ALTER TABLE of their own')
    }
    // What is left must still check that the table exists and who owns it.
    text = setBecomesReset(text, ours)
  }
  if (!touchesOptions) return { sql, options: undefined }
  const relation = relationText(tree['relation'] as TreeNode)
  return { sql: text, options: { relation, kind: 'alter', set, reset } }
}

function readOptions(list: unknown): OptionDefinition[] {
  return ((list ?? []) as readonly TreeNode[]).map((item) => {
    const element = (item['DefElem'] ?? {}) as TreeNode
    const namespace = element['defnamespace']
    const name = String(element['defname'])
    return {
      name: namespace === undefined ? name : `${String(namespace)}.${name}`,
      value: optionValue(element['arg'] as TreeNode | undefined),
      location: Number(element['location'] ?? 0),
    }
  })
}

function optionValue(arg: TreeNode | undefined): string | undefined {
  if (arg === undefined) return undefined
  const [tag, node] = Object.entries(arg)[0] ?? ['', {}]
  const fields = node as TreeNode
  switch (tag) {
    case 'Integer':
      return String(fields['ival'] ?? 0)
    case 'Float':
      return String(fields['fval'])
    case 'String':
      return String(fields['sval'])
    case 'Boolean':
      return String(fields['boolval'] ?? false)
    case 'TypeName': {
      const names = (fields['names'] ?? []) as readonly TreeNode[]
      return String((names.at(-1)?.['String'] as TreeNode | undefined)?.['sval'])
    }
    default:
      return undefined
  }
}

function checkedValue({ name, value }: OptionDefinition): string {
  if (value === undefined) {
    throw new DatabaseError(SqlState.invalidParameterValue, `invalid value for option "${name}"`)
  }
  if (name === 'ttl') parseTtl(value)
  if (name === 'shards') checkCount(name, value, shardCountMax)
  if (name === 'replicas') checkCount(name, value, replicaCountMax)
  return value
}

function checkCount(name: string, value: string, max: number): void {
  const count = Number(value)
  if (!Number.isInteger(count)) {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `invalid value for integer option "${name}": ${value}`,
    )
  }
  if (count < 1 || count > max) {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `value ${value} out of bounds for option "${name}"`,
      { detail: `Valid values are between "1" and "${max}".` },
    )
  }
}

/** Cuts some of `count` options out of a parenthesised list; all of them: the list, and the WITH before it. */
function cutOptions(sql: string, cut: readonly OptionDefinition[], count: number): string {
  const bytes = Buffer.from(sql)
  const tokens = scan(sql)
  const starts = cut.map(({ location }) => tokens.findIndex(({ start }) => start === location))
  if (cut.length === count) {
    const open = lastIndexOf(tokens, '(', starts[0] ?? 0)
    const close = closing(tokens, open)
    const from = tokens[open - 1]?.text.toLowerCase() === 'with' ? open - 1 : open
    return blank(bytes, [[tokens[from]?.start ?? 0, tokens[close]?.end ?? 0]])
  }
  return blank(
    bytes,
    starts.map((start) => {
      const end = optionEnd(tokens, start)
      // With the comma behind it, or before it if it is the last.
      if (tokens[end]?.text === ',') return [tokens[start]?.start ?? 0, tokens[end]?.end ?? 0]
      return [tokens[start - 1]?.start ?? 0, tokens[end]?.start ?? 0]
    }),
  )
}

/** ALTER TABLE t SET (shards = 4) → ALTER TABLE t RESET (shards): checks the same, changes nothing. */
function setBecomesReset(sql: string, ours: readonly OptionDefinition[]): string {
  const tokens = scan(sql)
  const first = tokens.findIndex(({ start }) => start === ours[0]?.location)
  const open = lastIndexOf(tokens, '(', first)
  const close = closing(tokens, open)
  const bytes = Buffer.from(sql)
  const head = bytes.toString('utf8', 0, tokens[open - 1]?.start ?? 0)
  const tail = bytes.toString('utf8', tokens[close]?.end ?? bytes.length)
  const names = ours.map(({ name }) => name.split('.').map(quoteIdentifier).join('.'))
  return `${head}RESET (${names.join(', ')})${tail}`
}

function scan(sql: string): readonly Token[] {
  return scanSync(sql).tokens.filter(({ tokenName }) => !tokenName.endsWith('COMMENT'))
}

function lastIndexOf(tokens: readonly Token[], text: string, before: number): number {
  let at = before
  while (at > 0 && tokens[at]?.text !== text) at -= 1
  return at
}

function closing(tokens: readonly Token[], open: number): number {
  let depth = 0
  for (let at = open; at < tokens.length; at += 1) {
    if (tokens[at]?.text === '(') depth += 1
    if (tokens[at]?.text === ')') depth -= 1
    if (depth === 0) return at
  }
  return tokens.length - 1
}

/** Index of the comma or parenthesis that ends an option. */
function optionEnd(tokens: readonly Token[], start: number): number {
  let depth = 0
  for (let at = start; at < tokens.length; at += 1) {
    const text = tokens[at]?.text
    if (depth === 0 && (text === ',' || text === ')')) return at
    if (text === '(') depth += 1
    if (text === ')') depth -= 1
  }
  return tokens.length - 1
}

/** Blanks, so that positions in errors stay right. */
function blank(bytes: Buffer, ranges: readonly (readonly [number, number])[]): string {
  for (const [from, to] of ranges) bytes.fill(0x20, from, to)
  return bytes.toString('utf8')
}

function blankConcurrently(sql: string): string {
  const found = scan(sql).filter(({ text }) => text.toLowerCase() === 'concurrently')
  return blank(
    Buffer.from(sql),
    found.map(({ start, end }) => [start, end]),
  )
}

function isDetachConcurrently(tree: TreeNode): boolean {
  return ((tree['cmds'] ?? []) as readonly TreeNode[]).some((item) => {
    const command = item['AlterTableCmd'] as TreeNode | undefined
    const partition = (command?.['def'] as TreeNode | undefined)?.['PartitionCmd'] as
      | TreeNode
      | undefined
    return partition?.['concurrent'] === true
  })
}

function relationText(relation: TreeNode): string {
  const name = quoteIdentifier(String(relation['relname']))
  const schema = relation['schemaname']
  return schema === undefined ? name : `${quoteIdentifier(String(schema))}.${name}`
}
