/** Puts the settings of a session into an instance. Sessions differ rarely: what is set stays until another key comes. */

import type { Embedded } from '#postgres/embedded.js'
import type { JobSettings } from '#postgres/jobs.js'
import { quoteIdentifier, quoteLiteral } from '#postgres/quote.js'
import { withheldSettings } from '#postgres/start-options.js'

export class SettingsState {
  readonly #embedded: Embedded
  #key = ''

  constructor(embedded: Embedded) {
    this.#embedded = embedded
  }

  /** Outside a transaction. @throws DatabaseError for a value PostgreSQL refuses */
  apply(settings: JobSettings): void {
    if (settings.key === this.#key) return
    this.#key = ''
    const calls = settings.gucs
      .filter(([name]) => !withheldSettings.has(name))
      .map(([name, value]) => `set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`)
    this.#embedded.run(calls.length === 0 ? 'RESET ALL' : `RESET ALL; SELECT ${calls.join(', ')}`)
    this.#key = settings.key
  }
}

/** Statements, inside the transaction, that make current_user and session_user show the session's. */
export function becomeUser(user: string, role: string | undefined): string {
  const session =
    user === 'postgres' ? '' : `SET LOCAL SESSION AUTHORIZATION ${quoteIdentifier(user)};`
  const current =
    role === undefined || role === 'none' ? '' : `SET LOCAL ROLE ${quoteIdentifier(role)};`
  return session + current
}

/** Undoes becomeUser() in an open transaction: captures and loads are the superuser's. */
export const becomeSuperuser = 'RESET ROLE; SET LOCAL SESSION AUTHORIZATION postgres'
