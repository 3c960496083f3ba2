import { DatabaseError, SqlState } from '#base/errors.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { storedColumns } from '#nodes/proxy/statements/read-rows.js'
import type { TableInfo } from '#postgres/contract.js'

/** @param batch all stored columns. @throws 23502 */
export function checkNotNull(table: TableInfo, batch: ColumnBatch): void {
  for (const [i, column] of storedColumns(table).entries()) {
    const validity = batch.columns[i]?.validity
    if (!column.notNull || validity === undefined) continue
    for (let row = 0; row < batch.rowCount; row += 1) {
      if (((validity[row >> 3] ?? 0) & (1 << (row & 7))) !== 0) continue
      throw new DatabaseError(
        SqlState.notNullViolation,
        `null value in column "${column.name}" of relation "${table.name}" violates not-null constraint`,
        { schema: table.schemaName, table: table.name, column: column.name },
      )
    }
  }
}
