/** Values of DataRow messages. */
import type { Datum } from '#engine/columnar/column.js'
import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages, parseDataRow } from '#net/pgwire/backend-parse.js'
import type { EvaluationResult } from '#postgres/contract.js'

export function* dataRows(result: Pick<EvaluationResult, 'dataRows'>): Generator<readonly Datum[]> {
  const messages = new BackendMessages(result.dataRows)
  while (messages.next()) {
    if (messages.type === BackendType.dataRow) yield parseDataRow(messages.payload())
  }
}
