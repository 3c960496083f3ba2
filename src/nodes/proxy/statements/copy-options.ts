/** The options of COPY, from the parse tree. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import type { CopyTextOptions } from '#engine/index/native.js'
import { isUtc } from '#engine/types/type-settings.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import type { TreeNode } from '#postgres/classify.js'
import type { TableColumn, TableInfo } from '#postgres/contract.js'
import { stringList } from '#postgres/tree-walk.js'

export interface CopyOptions {
  readonly table: TableInfo
  readonly columns: readonly TableColumn[]
  readonly format: 'text' | 'csv' | 'binary'
  readonly header: boolean
  readonly text: CopyTextOptions
  /** False when an option is given that only PostgreSQL's own COPY executes (FORCE_NULL, ON_ERROR, WHERE …). */
  readonly plain: boolean
}

/** @throws 42P01, 42703, 0A000 */
export function copyOptions(execution: Execution): CopyOptions {
  const { tree } = execution.parsed
  const table = resolveTable(execution, (tree['relation'] ?? {}) as TreeNode)
  const options = new Map<string, string>()
  let plain = tree['whereClause'] === undefined
  for (const item of (tree['options'] ?? []) as readonly { readonly DefElem?: TreeNode }[]) {
    const name = String(item.DefElem?.['defname'])
    if (
      !['format', 'delimiter', 'null', 'header', 'quote', 'escape', 'encoding', 'freeze'].includes(
        name,
      )
    )
      plain = false
    options.set(name, optionText(item.DefElem?.['arg']))
  }
  const format = options.get('format') ?? 'text'
  if (format !== 'text' && format !== 'csv' && format !== 'binary') {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `COPY format "${format}" not recognized`,
    )
  }
  const encoding = options.get('encoding')
  if (encoding !== undefined && !/^utf-?8$/i.test(encoding))
    throw notSupported('COPY ENCODING other than UTF8 is not supported')
  const quote = options.get('quote') ?? '"'
  const header = ['true', 'on', '1', 'match', ''].includes(
    (options.get('header') ?? 'false').toLowerCase(),
  )
  if (options.get('header')?.toLowerCase() === 'match') plain = false
  return {
    table,
    columns: copyColumns(table, tree),
    format,
    header,
    plain,
    text: {
      format: format === 'csv' ? 'csv' : 'text',
      delimiter: options.get('delimiter') ?? (format === 'csv' ? ',' : '\t'),
      nullString: options.get('null') ?? (format === 'csv' ? '' : '\\N'),
      quote,
      escape: options.get('escape') ?? quote,
      utc: isUtc(execution.settings.get('timezone') ?? 'UTC'),
    },
  }
}

function copyColumns(table: TableInfo, tree: TreeNode): readonly TableColumn[] {
  const names = stringList(tree['attlist'])
  if (names.length === 0) return table.columns.filter((column) => column.generated === '')
  return names.map((name) => {
    const column = table.columns.find((candidate) => candidate.name === name)
    if (column === undefined) {
      throw new DatabaseError(
        SqlState.undefinedColumn,
        `column "${name}" of relation "${table.name}" does not exist`,
      )
    }
    return column
  })
}

function optionText(argument: unknown): string {
  if (argument === undefined) return ''
  const node = argument as TreeNode
  const [kind] = Object.keys(node)
  const body = (kind === undefined ? {} : node[kind]) as TreeNode
  switch (kind) {
    case 'String':
      return String(body['sval'] ?? '')
    case 'Integer':
      return String(body['ival'] ?? 0)
    case 'Boolean':
      return body['boolval'] === true ? 'true' : 'false'
    default:
      return ''
  }
}
