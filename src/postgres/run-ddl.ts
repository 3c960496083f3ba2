/**
 * DDL inside an instance. Identical OIDs everywhere rest on three things: the counter is set before each step, files
 * left by rolled-back steps are gone (a new relation skips numbers whose file exists; only a checkpoint removes them),
 * and what an instance makes for itself has OIDs from another range.
 */
import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages, parseCommandComplete } from '#net/pgwire/backend-parse.js'
import type { Embedded } from '#postgres/embedded.js'
import type { DdlStep, OptionsEdit } from '#postgres/jobs.js'
import { ownCopy } from '#postgres/messages.js'
import { isTableOption } from '#postgres/option-names.js'
import { quoteLiteral } from '#postgres/quote.js'
import { becomeSuperuser, becomeUser } from '#postgres/session-settings.js'
import { withheldSettings } from '#postgres/start-options.js'

export interface DdlOutcome {
  readonly commandTag: string
  /** Whole messages. */
  readonly notices: readonly Uint8Array[]
  readonly firstOid: number
}

/**
 * Inside an open transaction, as the step's user under the step's settings; both are the superuser's and the
 * transaction's again afterwards. @throws DatabaseError
 */
export function runDdlStep(embedded: Embedded, step: DdlStep): DdlOutcome {
  const { user, gucs } = step.settings
  const role = gucs.find(([name]) => name === 'role')?.[1]
  const wanted = gucs.filter(([name]) => !withheldSettings.has(name))
  const previous = setLocal(embedded, wanted)
  const kept = step.options?.kind === 'alter' ? takeOptionsOut(embedded, step.options) : []
  const become = becomeUser(user, role)
  if (become !== '') embedded.run(become)
  if (step.firstOid !== undefined) embedded.hooks.setNextOid(step.firstOid)
  const firstOid = embedded.hooks.getNextOid()
  const outcome = readOutcome(embedded.run(step.sql))
  const nextOid = embedded.hooks.getNextOid()
  if (become !== '') embedded.run(becomeSuperuser)
  if (step.options !== undefined) putOptionsIn(embedded, step.options, kept)
  setLocal(embedded, previous)
  embedded.hooks.setNextOid(nextOid)
  return { ...outcome, firstOid }
}

/** Returns what the settings were. */
function setLocal(
  embedded: Embedded,
  gucs: readonly (readonly [string, string])[],
): [string, string][] {
  if (gucs.length === 0) return []
  const names = gucs.map(([name]) => name)
  const values = embedded.column(
    names.map((name) => `SELECT current_setting(${quoteLiteral(name)}, true)`).join('; '),
  )
  const calls = gucs.map(
    ([name, value]) => `set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, true)`,
  )
  embedded.run(`SELECT ${calls.join(', ')}`)
  return names.map((name, i) => [name, values[i] ?? ''])
}

function readOutcome(answer: Uint8Array): Omit<DdlOutcome, 'firstOid'> {
  const notices: Uint8Array[] = []
  let commandTag = ''
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    if (messages.type === BackendType.noticeResponse) notices.push(ownCopy(messages.message()))
    if (messages.type === BackendType.commandComplete) {
      commandTag = parseCommandComplete(messages.payload())
    }
  }
  return { commandTag, notices }
}

/**
 * Our options rest in pg_class.reloptions, which PostgreSQL reads without complaint about names it does not know; only
 * ALTER TABLE checks them all, so that they must be out of the way while it runs. Returns them as 'name=value'.
 */
function takeOptionsOut(embedded: Embedded, edit: OptionsEdit): string[] {
  const relation = `to_regclass(${quoteLiteral(edit.relation)})`
  const all = embedded
    .column(`SELECT unnest(reloptions) FROM pg_class WHERE oid = ${relation}`)
    .filter((option) => option !== null)
  const kept = all.filter((option) => isTableOption(nameOf(option)))
  if (kept.length > 0) {
    const others = all.filter((option) => !isTableOption(nameOf(option)))
    embedded.run(`UPDATE pg_class SET reloptions = ${optionsArray(others)} WHERE oid = ${relation}`)
  }
  return kept
}

function putOptionsIn(embedded: Embedded, edit: OptionsEdit, kept: readonly string[]): void {
  const options = new Map(kept.map((option) => [nameOf(option), option]))
  for (const name of edit.reset) options.delete(name)
  for (const [name, value] of edit.set) options.set(name, `${name}=${value}`)
  if (options.size === 0) return
  embedded.run(
    `UPDATE pg_class SET reloptions = coalesce(reloptions, '{}') || ${optionsArray([...options.values()])}
     WHERE oid = to_regclass(${quoteLiteral(edit.relation)})`,
  )
}

function nameOf(option: string): string {
  const equals = option.indexOf('=')
  return equals < 0 ? option : option.slice(0, equals)
}

function optionsArray(options: readonly string[]): string {
  return options.length === 0 ? 'NULL' : `ARRAY[${options.map(quoteLiteral).join(', ')}]::text[]`
}
