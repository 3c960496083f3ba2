import { DatabaseError, SqlState } from '#base/errors.js'
import * as backend from '#net/pgwire/backend.js'
import type { Inbox } from '#net/pgwire/inbox.js'
import { connectionLost, type Outbox } from '#net/pgwire/outbox.js'
import { FrontendType } from '#net/pgwire/parse-frontend.js'
import { protocolViolation } from '#net/pgwire/payload-reader.js'
import type { ResponseWriter, StatementContext } from '#net/pgwire/session.js'

/**
 * The session's face of the outbox. `currentStatement` is asked by COPY FROM STDIN, which reads the
 * inbox while a statement runs.
 */
export function createResponseWriter(
  inbox: Inbox,
  outbox: Outbox,
  currentStatement: () => StatementContext,
): ResponseWriter {
  const { writer } = outbox
  const writing =
    <Arguments extends unknown[]>(
      write: (to: typeof writer, ...values: Arguments) => void,
    ): ((...values: Arguments) => void) =>
    (...values) => {
      write(writer, ...values)
      outbox.written()
    }
  return {
    rowDescription: writing(backend.writeRowDescription),
    noData: writing(backend.writeNoData),
    parameterDescription: writing(backend.writeParameterDescription),
    dataRow: (values) => outbox.dataRow(values),
    commandComplete: writing(backend.writeCommandComplete),
    emptyQueryResponse: writing(backend.writeEmptyQueryResponse),
    portalSuspended: writing(backend.writePortalSuspended),
    notice: (notice) => outbox.notice(notice),
    parameterStatus: writing(backend.writeParameterStatus),
    raw: (messages) => outbox.raw(messages),
    copyIn: (format, columnCount) => copyIn(inbox, outbox, currentStatement(), format, columnCount),
    copyOut: writing(backend.writeCopyOutResponse),
    copyData: writing(backend.writeCopyData),
    copyDone: writing(backend.writeCopyDone),
    get full() {
      return outbox.full
    },
    drain: () => outbox.drain(),
    flush: () => outbox.flush(),
  }
}

/**
 * The messages of the client from CopyInResponse to CopyDone, as CopyGetData() in copyfromparse.c
 * treats them: Flush and Sync are ignored, because a client may have sent them with its Execute.
 */
async function* copyIn(
  inbox: Inbox,
  outbox: Outbox,
  statement: StatementContext,
  format: backend.CopyFormat,
  columnCount: number,
): AsyncGenerator<Uint8Array, void, void> {
  backend.writeCopyInResponse(outbox.writer, format, columnCount)
  outbox.flush()
  for (;;) {
    statement.signal.throwIfAborted()
    const message = inbox.take() ?? (await inbox.next())
    if (message === undefined) throw connectionLost()
    switch (message.kind) {
      case 'copyData':
        yield message.data
        break
      case 'copyDone':
        return
      case 'copyFail':
        throw new DatabaseError(SqlState.queryCanceled, `COPY from stdin failed: ${message.reason}`)
      case 'flush':
      case 'sync':
        break
      case 'terminate':
        throw connectionLost()
      case 'violation':
        throw message.error
      default:
        throw protocolViolation(
          `unexpected message type 0x${hexType(message.kind)} during COPY from stdin`,
        )
    }
  }
}

function hexType(kind: string): string {
  const types: Readonly<Record<string, number>> = FrontendType
  return (types[kind] ?? 0).toString(16).toUpperCase().padStart(2, '0')
}
