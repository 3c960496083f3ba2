/**
 * The undocumented part: globals and hooks of PostgreSQL reached through exports of PGlite's WebAssembly module. All of
 * it is here; each is tried when an instance starts, and an instance in which one does not work is not used.
 *
 * Struct layouts are PostgreSQL 18's on a 32-bit machine, little-endian:
 *   TransamVariablesData  0 Oid nextOid, 4 uint32 oidCount                              access/transam.h
 *   List                  0 tag, 4 int length, 8 int max, 12 ListCell *elements         nodes/pg_list.h
 *   RangeTblEntry         0 tag, 12 rtekind, 16 Oid relid, 20 bool inh, 21 char relkind, 24 lockmode,
 *                         28 Index perminfoindex                                        nodes/parsenodes.h
 *   RTEPermissionInfo     0 tag, 4 Oid relid, 8 bool inh, 16 uint64 requiredPerms        nodes/parsenodes.h
 */
import type { PGlite } from '@electric-sql/pglite'
import { InvariantError } from '#base/errors.js'

export interface WasmHooks {
  getNextOid(): number
  /** The counter that OIDs of new objects and files come from. */
  setNextOid(oid: number): void
  /** Relations (OID of user tables) whose rows the executor was asked to read since the last call. */
  takeTouchedRelations(): number[]
  /** Runs `work` with PostgreSQL's clock standing at `unixMs`; the instance's own clock if undefined. */
  withClock<T>(unixMs: number | undefined, work: () => T): T
}

const firstUserOid = 16384
const aclInsert = 1
const aclReads = 2 | 4 | 8 // ACL_SELECT, ACL_UPDATE, ACL_DELETE

type Module = PGlite['Module']

/** The whole memory of the instance; another object after it has grown. */
export function memoryOf(module: Module): Uint8Array {
  return (module as unknown as { readonly HEAPU8: Uint8Array }).HEAPU8
}

/** @param query first column of a query's rows */
export function openHooks(module: Module, query: (sql: string) => (string | null)[]): WasmHooks {
  const exports = module as unknown as Readonly<Record<string, number | { readonly value: number }>>
  const address = (name: string): number => {
    const value = exports[name]
    const at = typeof value === 'object' ? value.value : value
    if (at === undefined) throw new InvariantError('wasm-hooks', `no export ${name}`)
    return at
  }
  // The memory grows and its buffer is replaced: a view is made anew for every use.
  const memory = (): DataView => new DataView(memoryOf(module).buffer)
  const transam = memory().getUint32(address('_TransamVariables'), true)
  const touched = new Set<number>()
  const record = (rangeTable: number, permissions: number): number => {
    recordTouched(memory(), rangeTable, permissions, touched)
    return 1
  }
  const callback = module.addFunction(record as (a: number, b: number) => void, 'iiii')
  memory().setUint32(address('_ExecutorCheckPerms_hook'), callback, true)

  const hooks: WasmHooks = {
    getNextOid: () => memory().getUint32(transam, true),
    setNextOid: (oid) => memory().setUint32(transam, oid, true),
    takeTouchedRelations: () => {
      const out = [...touched]
      touched.clear()
      return out
    },
    withClock: (unixMs, work) => {
      if (unixMs === undefined) return work()
      const real = Date.now
      Date.now = () => unixMs
      try {
        return work()
      } finally {
        Date.now = real
      }
    },
  }
  tryHooks(hooks, query)
  return hooks
}

/**
 * An entry counts as read unless it is only the target of an INSERT: RETURNING asks ACL_SELECT of the target too.
 * Children that planning added have no permission entry of their own (index 0) and count.
 */
function recordTouched(
  view: DataView,
  rangeTable: number,
  permissions: number,
  out: Set<number>,
): void {
  if (rangeTable === 0) return
  const count = view.getInt32(rangeTable + 4, true)
  const elements = view.getUint32(rangeTable + 12, true)
  for (let i = 0; i < count; i += 1) {
    const entry = view.getUint32(elements + 4 * i, true)
    const relid = view.getUint32(entry + 16, true)
    if (view.getInt32(entry + 12, true) !== 0 || relid < firstUserOid) continue
    const relkind = view.getUint8(entry + 21)
    if (relkind !== 0x72 && relkind !== 0x6d) continue // 'r' table, 'm' materialized view
    const permission = view.getUint32(entry + 28, true)
    if (permission > 0 && permissions !== 0) {
      const info = view.getUint32(
        view.getUint32(permissions + 12, true) + 4 * (permission - 1),
        true,
      )
      const required = view.getUint32(info + 16, true)
      if ((required & aclInsert) !== 0 && (required & aclReads & ~2) === 0) continue
      if ((required & aclReads) === 0) continue
    }
    out.add(relid)
  }
}

/** OIDs that no user object gets: for what an instance makes for itself. */
export const firstPrivateOid = 4_000_000_000

function tryHooks(hooks: WasmHooks, query: (sql: string) => (string | null)[]): void {
  const oid = hooks.getNextOid()
  const wanted = firstPrivateOid + 100_000_000
  hooks.setNextOid(wanted)
  query('BEGIN; CREATE SCHEMA elanus_probe; CREATE TABLE elanus_probe.p (a int)')
  const probe = Number(query("SELECT 'elanus_probe.p'::regclass::oid::int8")[0])
  hooks.takeTouchedRelations()
  query('INSERT INTO elanus_probe.p VALUES (1) RETURNING a')
  const afterInsert = hooks.takeTouchedRelations()
  query('SELECT * FROM elanus_probe.p')
  const afterSelect = hooks.takeTouchedRelations()
  query('ROLLBACK')
  const at = hooks.withClock(
    1_000_000_000_123.456,
    () => query('SELECT extract(epoch FROM now())')[0],
  )
  hooks.setNextOid(Math.max(oid, firstUserOid))
  const works =
    probe > wanted &&
    probe < wanted + 10 &&
    afterInsert.length === 0 &&
    afterSelect.length === 1 &&
    afterSelect[0] === probe &&
    at === '1000000000.123456'
  if (!works) {
    throw new InvariantError('wasm-hooks', `probe ${probe}, ${afterInsert}, ${afterSelect}, ${at}`)
  }
}
