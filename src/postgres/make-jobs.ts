/** From the contract's terms to jobs of an instance. */
import type { CatalogSnapshot, DdlEntry, Evaluation, SessionSettings } from '#postgres/contract.js'
import type { DdlStep, EvaluateJob, JobSettings } from '#postgres/jobs.js'
import { ownCopy } from '#postgres/messages.js'
import { prepareDdl } from '#postgres/table-options.js'

/** Settings that change what a DDL statement makes: names, constants, owners. */
const ddlSettings: ReadonlySet<string> = new Set([
  'search_path',
  'timezone',
  'datestyle',
  'intervalstyle',
  'check_function_bodies',
  'default_table_access_method',
  'default_toast_compression',
  'default_text_search_config',
  'standard_conforming_strings',
  'escape_string_warning',
  'xmloption',
  'row_security',
  'bytea_output',
  'extra_float_digits',
  'lc_monetary',
])

export function jobSettings(settings: SessionSettings): JobSettings {
  const { key, user, role, gucs } = settings
  return { key, user, role, gucs: [...gucs] }
}

export function ddlEntrySettings(settings: SessionSettings): DdlEntry['settings'] {
  const gucs = [...settings.gucs].filter(([name]) => ddlSettings.has(name))
  if (settings.role !== undefined) gucs.push(['role', settings.role])
  return { user: settings.user, gucs }
}

const prepared = new WeakMap<DdlEntry, DdlStep>()

/** Entries are frozen values that are replayed many times: prepared once. */
export function ddlSteps(entries: readonly DdlEntry[]): DdlStep[] {
  return entries.map((entry) => {
    const known = prepared.get(entry)
    if (known !== undefined) return known
    const step = prepareDdl(entry)
    prepared.set(entry, step)
    return step
  })
}

/** Bytes in the job are copies: they are moved to the instance's thread. */
export function evaluateJob(evaluation: Evaluation, catalog: CatalogSnapshot): EvaluateJob {
  const { statement, loads, sequences, sessionSequences, captureTables, copyData } = evaluation
  return {
    kind: 'evaluate',
    statement: {
      ...statement,
      parameters: statement.parameters.map((value) => (value === null ? null : ownCopy(value))),
    },
    settings: jobSettings(evaluation.settings),
    pendingDdl: ddlSteps(evaluation.pendingDdl),
    loads: loads.map((load) => ({ ...load, tuples: ownCopy(load.tuples) })),
    sequences,
    sessionSequences,
    transactionStartMs: evaluation.transactionStartMs,
    captureTables,
    reportLocks: evaluation.reportLocks === true,
    afterLoads: evaluation.afterLoads,
    copyData: copyData === undefined ? undefined : ownCopy(copyData),
    needsKeys: captureTables.length > 0 && needsKeys(evaluation, catalog),
    callsFunctions: captureTables.length > 0 && mayCall(statement.sql, catalog),
  }
}

/** Whether uniqueness may decide what the statement does, in its text or in what it may call. */
function needsKeys({ statement, captureTables }: Evaluation, catalog: CatalogSnapshot): boolean {
  const { sql } = statement
  if (/\bon\s+conflict\b/i.test(sql)) return true
  if (captureTables.some((oid) => catalog.tables.get(oid)?.hasTriggers === true)) return true
  return mayCall(sql, catalog)
}

/** Functions of users, or a body in the statement itself. */
function mayCall(sql: string, { userFunctions }: CatalogSnapshot): boolean {
  if (/^\s*(call|do)\b/i.test(sql)) return true
  const lower = sql.toLowerCase()
  for (const name of userFunctions.keys()) if (lower.includes(name.toLowerCase())) return true
  return false
}
