/**
 * A session's settings (GUCs): what differs from the defaults, layered so that SET LOCAL and rollback can be undone.
 * PostgreSQL judges names and values (set_config in the catalog); pgvector's search settings and ours are known here,
 * because they steer our engine and allow more than pgvector's own limits.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { TypeSettings } from '#engine/types/type-settings.js'
import type { SessionSettings } from '#postgres/contract.js'

interface NativeSetting {
  readonly fallback: string
  /** Numbers: inclusive range. */
  readonly range?: readonly [number, number]
  readonly choices?: readonly string[]
}

/** grammar of the settings that the engine itself reads. */
const nativeSettings: ReadonlyMap<string, NativeSetting> = new Map<string, NativeSetting>([
  ['hnsw.ef_search', { fallback: '40', range: [1, 16_384] }],
  ['hnsw.iterative_scan', { fallback: 'off', choices: ['off', 'relaxed_order', 'strict_order'] }],
  ['hnsw.max_scan_tuples', { fallback: '20000', range: [1, 2_147_483_647] }],
  ['hnsw.scan_mem_multiplier', { fallback: '1', range: [1, 1000] }],
  ['ivfflat.probes', { fallback: '1', range: [1, 32_768] }],
  ['ivfflat.iterative_scan', { fallback: 'off', choices: ['off', 'relaxed_order'] }],
  ['ivfflat.max_probes', { fallback: '32768', range: [1, 32_768] }],
  // off: nothing is pushed down and nothing runs natively; PostgreSQL judges whole tables. The oracle of the fast paths.
  ['elanus.native_plans', { fallback: 'on', choices: ['on', 'off'] }],
  [
    'elanus.consistency',
    { fallback: 'strong', choices: ['strong', 'bounded', 'session', 'eventual'] },
  ],
  // Milliseconds that consistency level bounded may lag behind.
  ['elanus.bounded_staleness', { fallback: '5000', range: [0, 86_400_000] }],
  // Judged by read-time.ts.
  ['elanus.read_time', { fallback: '' }],
])

/** Settings whose changes are told to the client (ParameterStatus), with the spelling PostgreSQL uses. */
const reported: ReadonlyMap<string, string> = new Map([
  ['client_encoding', 'client_encoding'],
  ['datestyle', 'DateStyle'],
  ['intervalstyle', 'IntervalStyle'],
  ['timezone', 'TimeZone'],
  ['application_name', 'application_name'],
  ['standard_conforming_strings', 'standard_conforming_strings'],
  ['session_authorization', 'session_authorization'],
  ['search_path', 'search_path'],
  ['default_transaction_read_only', 'default_transaction_read_only'],
  ['is_superuser', 'is_superuser'],
])

/** What the client never sees in a plan: settings that never change how a statement is planned or what it returns: left out of plan cache keys. */
const planNeutral = new Set([
  'application_name',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'client_min_messages',
  'extra_float_digits',
])

export type Values = ReadonlyMap<string, string>

export class Settings {
  readonly user: string
  readonly #processId: number
  readonly #values: Map<string, string>
  /** SET LOCAL: these names return to the value held here when the transaction ends. */
  #localUndo = new Map<string, string | undefined>()
  #session: SessionSettings | undefined
  #planKey = ''
  readonly #onReport: (name: string, value: string) => void

  constructor(
    user: string,
    initial: Values,
    onReport: (name: string, value: string) => void,
    processId = 0,
  ) {
    this.user = user
    this.#processId = processId
    this.#values = new Map(initial)
    this.#onReport = onReport
  }

  get(name: string): string | undefined {
    return this.#values.get(name) ?? nativeSettings.get(name)?.fallback
  }

  number(name: string): number {
    return Number(this.get(name) ?? Number.NaN)
  }

  isOff(name: string): boolean {
    return ['off', 'false', 'no', '0'].includes((this.get(name) ?? '').toLowerCase())
  }

  /** @param value canonical text, judged before */
  set(name: string, value: string | undefined, local: boolean): void {
    if (local && !this.#localUndo.has(name)) this.#localUndo.set(name, this.#values.get(name))
    if (!local) this.#localUndo.delete(name)
    this.#put(name, value)
  }

  #put(name: string, value: string | undefined): void {
    if (value === undefined) this.#values.delete(name)
    else this.#values.set(name, value)
    this.#session = undefined
    const shown = reported.get(name)
    if (shown !== undefined && value !== undefined) this.#onReport(shown, value)
  }

  /** Tells the client a value that is no longer kept here: a default it is back to. */
  report(name: string, value: string): void {
    const shown = reported.get(name)
    if (shown !== undefined) this.#onReport(shown, value)
  }

  snapshot(): {
    readonly values: Values
    readonly localUndo: ReadonlyMap<string, string | undefined>
  } {
    return { values: new Map(this.#values), localUndo: new Map(this.#localUndo) }
  }

  /** Back to a snapshot: ROLLBACK, ROLLBACK TO. */
  restore(snapshot: ReturnType<Settings['snapshot']>): void {
    for (const name of new Set([...this.#values.keys(), ...snapshot.values.keys()])) {
      const value = snapshot.values.get(name)
      if (value !== this.#values.get(name)) this.#put(name, value)
    }
    this.#localUndo = new Map(snapshot.localUndo)
  }

  /** COMMIT: what was SET LOCAL ends. */
  endTransaction(): void {
    for (const [name, value] of this.#localUndo) this.#put(name, value)
    this.#localUndo.clear()
  }

  resetAll(initial: Values): void {
    for (const name of [...this.#values.keys()]) this.#put(name, initial.get(name))
  }

  /** What the embedded PostgreSQL must know: native settings left out. */
  session(): SessionSettings {
    if (this.#session === undefined) {
      const gucs = new Map<string, string>()
      let role: string | undefined
      let planKey = this.user
      let key = this.user
      for (const [name, value] of [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (nativeSettings.has(name)) continue
        if (name === 'role') {
          role = value === 'none' ? undefined : value
          key += `\u0000role=${value}`
          planKey += `\u0000role=${value}`
          continue
        }
        gucs.set(name, value)
        key += `\u0000${name}=${value}`
        if (!planNeutral.has(name)) planKey += `\u0000${name}=${value}`
      }
      this.#planKey = planKey
      this.#session = { user: this.user, role, gucs, key }
    }
    return this.#session
  }

  /** With what pg_backend_pid() reads (sql/live.sql): instances apply settings anew for every session then. */
  sessionWithProcess(): SessionSettings {
    const { user, role, gucs, key } = this.session()
    const pid = String(this.#processId)
    return {
      user,
      role,
      gucs: new Map([...gucs, ['elanus.backend_pid', pid]]),
      key: `${key}\u0000pid=${pid}`,
    }
  }

  /** Identity of what can change a plan: sessions that differ in nothing else share plans. */
  planKey(): string {
    this.session()
    return this.#planKey
  }

  types(): TypeSettings {
    return {
      dateStyle: this.get('datestyle') ?? 'ISO, MDY',
      timeZone: this.get('timezone') ?? 'UTC',
      intervalStyle: this.get('intervalstyle') ?? 'postgres',
      extraFloatDigits: Number(this.get('extra_float_digits') ?? '1'),
      byteaOutput: this.get('bytea_output') === 'escape' ? 'escape' : 'hex',
    }
  }
}

export function isNativeSetting(name: string): boolean {
  return nativeSettings.has(name) || /^(hnsw|ivfflat|elanus)\./.test(name)
}

/** @returns canonical value. @throws 22023 as PostgreSQL words it; 42704 for an unknown name under our prefixes */
export function judgeNativeSetting(name: string, value: string): string {
  const setting = nativeSettings.get(name)
  if (setting === undefined) {
    throw new DatabaseError(
      SqlState.undefinedObject,
      `unrecognized configuration parameter "${name}"`,
      { hint: `Known are ${[...nativeSettings.keys()].join(', ')}.` },
    )
  }
  if (setting.choices !== undefined) {
    const choice = setting.choices.find((candidate) => candidate === value.toLowerCase())
    if (choice === undefined) {
      throw new DatabaseError(
        SqlState.invalidParameterValue,
        `invalid value for parameter "${name}": "${value}"`,
        { hint: `Available values: ${setting.choices.join(', ')}.` },
      )
    }
    return choice
  }
  const number = Number(value)
  const [low, high] = setting.range ?? [0, 0]
  if (value.trim() === '' || !Number.isFinite(number)) {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `invalid value for parameter "${name}": "${value}"`,
    )
  }
  if (number < low || number > high) {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `${value} is outside the valid range for parameter "${name}" (${low} .. ${high})`,
    )
  }
  return String(Math.trunc(number))
}
