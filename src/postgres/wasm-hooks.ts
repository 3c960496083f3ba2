/**
 * The undocumented part: globals and hooks of PostgreSQL reached through exports of PGlite's WebAssembly module. All of
 * it is here; each is tried when an instance starts, and an instance in which one does not work is not used.
 *
 * Struct layouts are PostgreSQL 18's on a 32-bit machine, little-endian:
 *   TransamVariablesData  0 Oid nextOid, 4 uint32 oidCount                              access/transam.h
 *   List                  0 tag, 4 int length, 8 int max, 12 ListCell *elements         nodes/pg_list.h
 *   RangeTblEntry         0 tag, 12 rtekind, 16 Oid relid, 20 bool inh, 21 char relkind, 24 lockmode,
 *                         28 Index perminfoindex                                        nodes/parsenodes.h
 *   RelOptInfo            108 List *indexlist                                           nodes/pathnodes.h
 *   RelationData          32 SubTransactionId rd_createSubid                              utils/rel.h
 *   RTEPermissionInfo     0 tag, 4 Oid relid, 8 bool inh, 16 uint64 requiredPerms        nodes/parsenodes.h
 */
import type { PGlite } from '@electric-sql/pglite'
import { InvariantError } from '#base/errors.js'

export interface WasmHooks {
  getNextOid(): number
  /** The counter that OIDs of new objects and files come from. */
  setNextOid(oid: number): void
  /** User tables whose rows the executor was asked to read or write since the last call. */
  takeTouchedRelations(): TouchedRelations
  /** From now on no plan uses an index of a user's table: rows loaded are in none (load-rows.ts). */
  hideIndexes(): void
  /** The trap, exit or stack overflow that PGlite has caught and kept to itself: the instance is dead. */
  readonly fatal: unknown
  /**
   * Inside a transaction: what `work` copies into the relation is appended strictly in order. COPY otherwise goes back to
   * pages in which a longer row has left room (RelationGetBufferForTuple, hio.c), and rows that are told apart by their
   * place would be taken for others.
   */
  appendInOrder(relationOid: number, work: () => void): void
  /** Runs `work` with PostgreSQL's clock standing at `unixMs`; the instance's own clock if undefined. */
  withClock<T>(unixMs: number | undefined, work: () => T): T
}

export interface TouchedRelations {
  /** Tables and leaf partitions; the target of an INSERT is not read by it. */
  readonly read: number[]
  /** Of those read: by statements within the first one, in functions, triggers and referential actions. */
  readonly readWithin: number[]
  /** Targets of INSERT, UPDATE, DELETE, MERGE, and of locking clauses; partitioned tables too. */
  readonly written: number[]
}

const firstUserOid = 16384
const aclInsert = 1
const aclReads = 2 | 4 | 8 // ACL_SELECT, ACL_UPDATE, ACL_DELETE
const aclWrites = 1 | 4 | 8

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
  const touched = { read: new Set<number>(), written: new Set<number>() }
  const readWithin = new Set<number>()
  let statements = 0
  const record = (rangeTable: number, permissions: number): number => {
    const one = { read: new Set<number>(), written: touched.written }
    recordTouched(memory(), rangeTable, permissions, one)
    statements += 1
    for (const relid of one.read) {
      touched.read.add(relid)
      if (statements > 1) readWithin.add(relid)
    }
    return 1
  }
  const callback = module.addFunction(record as (a: number, b: number) => void, 'iiii')
  memory().setUint32(address('_ExecutorCheckPerms_hook'), callback, true)

  const calls = module as unknown as RelationCalls
  const fatal = watchFatal(module)
  const hideIndexes = (_root: number, relid: number, _parent: number, rel: number): void => {
    if (relid >= firstUserOid) memory().setUint32(rel + 108, 0, true)
  }

  const hooks: WasmHooks = {
    get fatal() {
      return fatal.error
    },
    hideIndexes: () => {
      const hide = module.addFunction(hideIndexes as (a: number, b: number) => void, 'viiii')
      memory().setUint32(address('_get_relation_info_hook'), hide, true)
      tryHiding(query)
    },
    getNextOid: () => memory().getUint32(transam, true),
    setNextOid: (oid) => memory().setUint32(transam, oid, true),
    takeTouchedRelations: () => {
      const { read, written } = touched
      const out = { read: [...read], readWithin: [...readWithin], written: [...written] }
      for (const set of [read, readWithin, written]) set.clear()
      statements = 0
      return out
    },
    appendInOrder: (relationOid, work) => {
      // COPY asks no free space map for a relation made in its own transaction (copyfrom.c, TABLE_INSERT_SKIP_FSM).
      const mark = (subtransaction: number): void => {
        const relation = calls._RelationIdGetRelation(relationOid)
        if (relation === 0) throw new InvariantError('wasm-hooks', `no relation ${relationOid}`)
        memory().setUint32(relation + createSubidOffset, subtransaction, true)
        calls._RelationClose(relation)
      }
      mark(topSubtransaction)
      work()
      mark(0)
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
  tryHooks(hooks, query, (oid) => tryRelations(module, oid, memory))
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
  out: { readonly read: Set<number>; readonly written: Set<number> },
): void {
  if (rangeTable === 0) return
  const count = view.getInt32(rangeTable + 4, true)
  const elements = view.getUint32(rangeTable + 12, true)
  for (let i = 0; i < count; i += 1) {
    const entry = view.getUint32(elements + 4 * i, true)
    const relid = view.getUint32(entry + 16, true)
    if (view.getInt32(entry + 12, true) !== 0 || relid < firstUserOid) continue
    const permission = view.getUint32(entry + 28, true)
    let required = aclReads & ~aclWrites
    if (permission > 0 && permissions !== 0) {
      const info = view.getUint32(
        view.getUint32(permissions + 12, true) + 4 * (permission - 1),
        true,
      )
      required = view.getUint32(info + 16, true)
    }
    if ((required & aclWrites) !== 0) out.written.add(relid)
    const relkind = view.getUint8(entry + 21)
    if (relkind !== 0x72 && relkind !== 0x6d) continue // 'r' table, 'm' materialized view
    const insertsOnly = (required & aclInsert) !== 0 && (required & aclWrites) === aclInsert
    if ((required & aclReads) !== 0 && !insertsOnly) out.read.add(relid)
  }
}

interface RelationCalls {
  _RelationIdGetRelation(oid: number): number
  _RelationClose(relation: number): void
}

const createSubidOffset = 32
/** TopSubTransactionId, c.h */
const topSubtransaction = 1

/** A relation made in this transaction has its subtransaction where we write ours. */
function tryRelations(module: Module, oid: number, view: () => DataView): void {
  const calls = module as unknown as RelationCalls
  const relation = calls._RelationIdGetRelation(oid)
  const found = relation === 0 ? -1 : view().getUint32(relation + createSubidOffset, true)
  if (relation !== 0) calls._RelationClose(relation)
  if (found !== topSubtransaction) {
    throw new InvariantError('wasm-hooks', `rd_createSubid is not where it should be: ${found}`)
  }
}

/** OIDs that no user object gets: for what an instance makes for itself. */
export const firstPrivateOid = 4_000_000_000

/** PostgreSQL's siglongjmp to its main loop: PGlite exits the call with this status. pglitec.c, POSTGRES_MAIN_LONGJMP */
const longjmpStatus = 100

/**
 * PGlite takes any exception for an error that PostgreSQL has handled and goes on with an instance that is none any
 * more. Ours is noted, and thrown again where PGlite calls out before it goes on.
 */
function watchFatal(module: Module): { error: unknown } {
  const state: { error: unknown } = { error: undefined }
  const open = module as unknown as {
    _PostgresMainLoopOnce: () => void
    stackRestore: (pointer: number) => void
  }
  const { _PostgresMainLoopOnce: runOnce, stackRestore } = open
  open._PostgresMainLoopOnce = () => {
    try {
      runOnce()
    } catch (error) {
      if ((error as { status?: number }).status !== longjmpStatus) state.error ??= error
      throw error
    }
  }
  open.stackRestore = (pointer) => {
    if (state.error !== undefined) throw state.error
    stackRestore(pointer)
  }
  return state
}

function tryHiding(query: (sql: string) => (string | null)[]): void {
  query('BEGIN; CREATE SCHEMA elanus_probe; CREATE TABLE elanus_probe.p (a int PRIMARY KEY)')
  const plan = query(
    'SET LOCAL enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT FROM elanus_probe.p WHERE a = 1',
  )
  query('ROLLBACK')
  if (!plan[0]?.startsWith('Seq Scan')) {
    throw new InvariantError('wasm-hooks', `indexes are not hidden: ${plan}`)
  }
}

function tryHooks(
  hooks: WasmHooks,
  query: (sql: string) => (string | null)[],
  tryRelation: (oid: number) => void,
): void {
  const oid = hooks.getNextOid()
  const wanted = firstPrivateOid + 100_000_000
  hooks.setNextOid(wanted)
  query('BEGIN; CREATE SCHEMA elanus_probe; CREATE TABLE elanus_probe.p (a int)')
  const probe = Number(query("SELECT 'elanus_probe.p'::regclass::oid::int8")[0])
  tryRelation(probe)
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
    `${afterInsert.read}/${afterInsert.written}` === `/${probe}` &&
    `${afterSelect.read}/${afterSelect.written}` === `${probe}/` &&
    at === '1000000000.123456'
  if (!works) {
    throw new InvariantError(
      'wasm-hooks',
      `${JSON.stringify({ probe, afterInsert, afterSelect, at })}`,
    )
  }
}
