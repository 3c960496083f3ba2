import { DatabaseError, SqlState } from '#base/errors.js'
import type { Awaitable, StatementContext } from '#net/pgwire/session.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { isDescribed } from '#nodes/proxy/session/prepared.js'
import type { ParsedStatement } from '#postgres/classify.js'

export interface ToldStatement {
  /** undefined: the commit of what came before Sync. */
  readonly parsed: ParsedStatement | undefined
  readonly context: StatementContext
  readonly user: string
}

/** Tells those who operate the server how the work of a statement ended, and how long it took. Text that may hold a password stays here. */
export async function tellStatement(
  { onStatement, runtime }: ProxyEnvironment,
  { parsed, context, user }: ToldStatement,
  work: () => Awaitable,
): Promise<void> {
  if (onStatement === undefined) return await work()
  const startedMs = runtime.monotonicMs()
  const tell = (sqlState: string | undefined): void =>
    onStatement({
      kind: parsed?.kind ?? 'commit',
      sql: isDescribed(parsed) ? parsed.sql : undefined,
      queryId: context.queryId ?? '',
      user,
      ms: runtime.monotonicMs() - startedMs,
      sqlState,
    })
  try {
    await work()
    tell(undefined)
  } catch (error) {
    tell(error instanceof DatabaseError ? error.sqlState : SqlState.internalError)
    throw error
  }
}
