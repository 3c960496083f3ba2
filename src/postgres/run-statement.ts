/** One statement in the open transaction of an instance, its answer taken apart. */
import { type DatabaseError, SqlState } from '#base/errors.js'
import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages, parseCommandComplete } from '#net/pgwire/backend-parse.js'
import { parseErrorResponse } from '#net/pgwire/error-response.js'
import type { BoundStatement } from '#postgres/contract.js'
import type { Embedded } from '#postgres/embedded.js'
import { copyInMessages, extendedMessages, ownCopy } from '#postgres/messages.js'

export interface StatementAnswer {
  readonly rowDescription: Uint8Array | undefined
  readonly dataRows: Uint8Array
  readonly rowCount: number
  readonly commandTag: string
  readonly notices: readonly Uint8Array[]
  readonly error: DatabaseError | undefined
}

export function runStatement(
  embedded: Embedded,
  statement: BoundStatement,
  copyData: Uint8Array | undefined,
): StatementAnswer {
  const messages =
    copyData === undefined
      ? extendedMessages(statement)
      : copyInMessages(statement.sql, copyData.length === 0 ? [] : [copyData])
  return readAnswer(embedded.exchange(messages))
}

function readAnswer(answer: Uint8Array): StatementAnswer {
  let rowDescription: Uint8Array | undefined
  let commandTag = ''
  let rowCount = 0
  let error: DatabaseError | undefined
  const notices: Uint8Array[] = []
  // Rows lie one behind the other unless a notice came between.
  const runs: { start: number; end: number }[] = []
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    const { type } = messages
    if (type === BackendType.dataRow || type === BackendType.copyData) {
      rowCount += 1
      const run = runs.at(-1)
      if (run !== undefined && run.end === messages.start) run.end = messages.end
      else runs.push({ start: messages.start, end: messages.end })
    } else if (type === BackendType.rowDescription) {
      rowDescription = ownCopy(messages.message())
    } else if (type === BackendType.commandComplete) {
      commandTag = parseCommandComplete(messages.payload())
    } else if (type === BackendType.noticeResponse) {
      notices.push(ownCopy(messages.message()))
    } else if (type === BackendType.errorResponse) {
      error ??= parseErrorResponse(messages.payload())
    }
  }
  return { rowDescription, dataRows: joined(answer, runs), rowCount, commandTag, notices, error }
}

function joined(bytes: Uint8Array, runs: readonly { start: number; end: number }[]): Uint8Array {
  const out = new Uint8Array(runs.reduce((sum, { start, end }) => sum + end - start, 0))
  let at = 0
  for (const { start, end } of runs) {
    out.set(bytes.subarray(start, end), at)
    at += end - start
  }
  return out
}

/** Errors after which the same statement may succeed once more rows are loaded. */
export function mayComeFromMissingRows(error: DatabaseError): boolean {
  return error.sqlState !== SqlState.statementTooComplex && !error.sqlState.startsWith('42')
}
