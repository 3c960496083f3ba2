/**
 * Puts rows into tables of an evaluator. Rows do not go through the table itself but through its *loader*: a second
 * relation, made by us, that shares the table's file. The loader has the same columns (named c1, c2 … by attribute
 * number) and no constraints, defaults, generated columns, triggers or indexes, and is unlogged. So that
 *   - a row needs only the columns that were fetched, whatever is NOT NULL or checked;
 *   - stored generated columns keep the values they have;
 *   - nothing fires, no default is evaluated, no sequence moves;
 *   - large values stay in the row (toast_tuple_target) and nothing is written to the log.
 * What is given up: loaded rows are not in the table's indexes. Plans of evaluators therefore see none
 * (wasm-hooks.ts, hideIndexes), and where uniqueness decides (ON CONFLICT) the unique indexes are built after loading.
 */

import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages } from '#net/pgwire/backend-parse.js'
import type { TableLoad } from '#postgres/contract.js'
import { type Embedded, queryMessage, throwFirstError } from '#postgres/embedded.js'
import { copyInTuples, copySignature } from '#postgres/messages.js'
import { firstPrivateOid } from '#postgres/wasm-hooks.js'

const loaderSchema = 'elanus_load'
const bytesOfOnePage = 8192

export function loaderOf(tableOid: number): string {
  return `${loaderSchema}.l${tableOid}`
}

export class Loaders {
  readonly #embedded: Embedded
  /** Tables whose loader is committed and in step with the table. */
  readonly #ready = new Set<number>()
  #nextOid = firstPrivateOid

  constructor(embedded: Embedded) {
    this.#embedded = embedded
    this.#privately(() => embedded.run(`CREATE SCHEMA ${loaderSchema}`))
  }

  /** After DDL: columns and files may have changed. */
  forget(): void {
    this.#ready.clear()
  }

  /** Outside a transaction. */
  prepare(tableOids: readonly number[]): void {
    for (const oid of tableOids) {
      if (this.#ready.has(oid)) continue
      this.#make(oid)
      this.#ready.add(oid)
    }
  }

  /** In a transaction with DDL in it that will be rolled back. */
  prepareInTransaction(tableOids: readonly number[]): void {
    for (const oid of tableOids) this.#make(oid)
  }

  /** Outside a transaction: new files for a table (and those that refer to it) without looking at the old ones. */
  truncate(tableName: string): void {
    this.#privately(() =>
      this.#embedded.run(
        `SET session_replication_role = replica; TRUNCATE ${tableName} CASCADE; RESET session_replication_role`,
      ),
    )
    this.forget()
  }

  /** Follows a table that got another file (TRUNCATE). */
  #make(oid: number): void {
    const loader = loaderOf(oid)
    this.#privately(() =>
      // Attributes and their number change in one command: between two the relation would not make sense.
      this.#embedded.run(`CREATE TABLE IF NOT EXISTS ${loader} ();
        WITH gone AS (DELETE FROM pg_attribute WHERE attrelid = '${loader}'::regclass AND attnum > 0)
        UPDATE pg_class SET relnatts = 0 WHERE oid = '${loader}'::regclass AND relnatts <> 0;
        WITH made AS (
          INSERT INTO pg_attribute SELECT (jsonb_populate_record(a, jsonb_build_object(
            'attrelid', '${loader}'::regclass::oid, 'attname', 'c' || attnum, 'attnotnull', false, 'atthasdef', false,
            'atthasmissing', false, 'attmissingval', null, 'attgenerated', '', 'attidentity', ''))).*
          FROM pg_attribute a WHERE attrelid = ${oid} AND attnum > 0
        )
        UPDATE pg_class l SET relnatts = t.relnatts, relfilenode = t.relfilenode, reltoastrelid = t.reltoastrelid,
          relpersistence = 'u', reloptions = '{toast_tuple_target=8160}'
          FROM pg_class t WHERE t.oid = ${oid} AND l.oid = '${loader}'::regclass`),
    )
  }

  #privately(work: () => void): void {
    const { hooks } = this.#embedded
    const shared = hooks.getNextOid()
    hooks.setNextOid(this.#nextOid)
    try {
      work()
    } finally {
      this.#nextOid = hooks.getNextOid()
      hooks.setNextOid(shared)
    }
  }
}

/** In the transaction. @throws DatabaseError if the tuples do not fit the columns */
export function loadRows(embedded: Embedded, load: TableLoad): void {
  if (load.rowCount === 0) return
  const loader = loaderOf(load.tableOid)
  if (load.attnums.length === 0) {
    embedded.run(`INSERT INTO ${loader} SELECT FROM generate_series(1, ${load.rowCount})`)
    return
  }
  const columns = load.attnums.map((attnum) => `c${attnum}`).join(', ')
  const sql = `COPY ${loader} (${columns}) FROM STDIN (FORMAT binary)`
  const copy = (): void => throwFirstError(embedded.exchange(copyInTuples(sql, load.tuples)))
  // One page fills from its beginning; only with a second there is a first to go back to.
  if (load.tuples.byteLength < bytesOfOnePage / 2) copy()
  else embedded.hooks.appendInOrder(relationOid(embedded, loader), copy)
}

function relationOid(embedded: Embedded, name: string): number {
  return Number(embedded.column(`SELECT '${name}'::regclass::oid::int8`)[0])
}

/** Row addresses (block × 65536 + offset) in the order of `sql`, which must be `SELECT ctid FROM …`. */
export function readAddresses(embedded: Embedded, sql: string): number[] {
  const { tuples, count } = copyOut(embedded, sql)
  const view = new DataView(tuples.buffer, tuples.byteOffset, tuples.byteLength)
  const out = new Array<number>(count)
  // int16 fields (1), int32 length (6), uint32 block, uint16 offset
  for (let i = 0, at = 0; i < count; i += 1, at += 12) {
    out[i] = view.getUint32(at + 6) * 65536 + view.getUint16(at + 10)
  }
  return out
}

/** Rows of a query as COPY BINARY tuples without header and trailer. @throws DatabaseError */
export function copyOut(embedded: Embedded, sql: string): { tuples: Uint8Array; count: number } {
  const answer = embedded.exchange(queryMessage(`COPY (${sql}) TO STDOUT (FORMAT binary)`))
  throwFirstError(answer)
  const out = new Uint8Array(answer.length)
  let length = 0
  let count = 0
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    if (messages.type !== BackendType.copyData) continue
    let payload = messages.payload()
    // The header comes before the first row, in its message or in one of its own; the trailer in the last.
    if (length === 0 && startsWithSignature(payload))
      payload = payload.subarray(copySignature.length)
    if (payload.length < 2 || (payload.length === 2 && payload[0] === 0xff)) continue
    out.set(payload, length)
    length += payload.length
    count += 1
  }
  // The buffer is transferred to another thread: not larger than it needs to be.
  return { tuples: out.slice(0, length), count }
}

function startsWithSignature(payload: Uint8Array): boolean {
  for (let i = 0; i < 11; i += 1) if (payload[i] !== copySignature[i]) return false
  return payload.length >= copySignature.length
}
