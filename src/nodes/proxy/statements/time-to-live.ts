/** WITH (ttl = '1 day', ttl_column = 'created_at'): which column says how old a row is. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import type { TimeToLive } from '#engine/columnar/schema.js'
import type { TableInfo } from '#postgres/contract.js'
import { parseTtl } from '#postgres/ttl.js'

/** undefined: rows do not expire, or the options say nothing sensible, which checkTimeToLive() keeps from being stored. */
export function timeToLiveOf(table: TableInfo): TimeToLive | undefined {
  const ttl = table.options.get('ttl')
  const [column, second] = candidates(table)
  if (ttl === undefined || column === undefined || second !== undefined) return undefined
  return { attnum: column.attnum, milliseconds: parseTtl(ttl) }
}

/** @throws 42703, 22023; 0A000 where rows cannot just go */
export function checkTimeToLive(table: TableInfo): void {
  const named = table.options.get('ttl_column')
  if (!table.options.has('ttl')) {
    if (named === undefined) return
    throw new DatabaseError(SqlState.invalidParameterValue, 'ttl_column is of no use without ttl')
  }
  if (table.kind !== 'table') {
    throw notSupported('a partitioned table has no ttl', 'Set it on its partitions.')
  }
  if (table.referencedBy.length > 0) {
    throw notSupported(
      `rows of "${table.name}" cannot expire: a foreign key refers to them`,
      'Delete old rows yourself.',
    )
  }
  if (named !== undefined && !table.columns.some(({ name }) => name === named)) {
    throw new DatabaseError(
      SqlState.undefinedColumn,
      `column "${named}" of relation "${table.name}" does not exist`,
      { detail: 'The storage option ttl_column names it.' },
    )
  }
  const found = candidates(table)
  if (found.length === 1) return
  if (named !== undefined) {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `ttl_column "${named}" is not a stored column of type timestamptz or timestamp`,
    )
  }
  throw new DatabaseError(
    SqlState.invalidParameterValue,
    found.length === 0
      ? `"${table.name}" has no column of type timestamptz or timestamp for its ttl`
      : `"${table.name}" has several columns of type timestamptz or timestamp for its ttl`,
    { hint: "Name one: WITH (ttl = '1 day', ttl_column = 'created_at')." },
  )
}

function candidates(table: TableInfo): TableInfo['columns'] {
  const named = table.options.get('ttl_column')
  return table.columns.filter(
    ({ name, typeName, generated }) =>
      (typeName === 'timestamptz' || typeName === 'timestamp') &&
      generated !== 'v' &&
      (named === undefined || name === named),
  )
}
