/**
 * Which rows a statement changed, without triggers. The heap of a captured table is empty when rows are loaded, so that
 * loaded rows have rising addresses, and what the statement writes comes behind the last one or into gaps at the ends of
 * pages. Rows of an unfinished transaction are never pruned: the address of a loaded row is that row or gone.
 */
import { invariant } from '#base/errors.js'
import type { LockedRows, TableChange } from '#postgres/contract.js'
import type { Embedded } from '#postgres/embedded.js'
import { copyOut, loaderOf, readAddresses } from '#postgres/load-rows.js'

/** (0,1): the heap was empty. */
const firstAddress = 1

export interface CaptureBase {
  readonly tableOid: number
  /** 'schema.table', quoted. */
  readonly tableName: string
  /** Addresses of the loaded rows in the order of the load, rising. */
  readonly loaded: readonly number[]
  /** The statement may give the table a new file (ALTER TABLE): addresses then mean nothing. */
  readonly rewritable: boolean
}

/** After loading, before the statement. */
export function captureBase(
  embedded: Embedded,
  tableOid: number,
  tableName: string,
  rowCount: number,
  rewritable: boolean,
): CaptureBase {
  const loaded =
    rowCount === 0 ? [] : readAddresses(embedded, `SELECT ctid FROM ONLY ${loaderOf(tableOid)}`)
  invariant(
    'capture-order',
    loaded.length === rowCount && (rowCount === 0 || loaded[0] === firstAddress),
    () => `table ${tableOid}: ${loaded.length} of ${rowCount} rows, from ${loaded[0]}`,
  )
  return { tableOid, tableName, loaded, rewritable }
}

/** After the statement, as superuser, before the rollback. Undefined: nothing changed. */
export function captureChange(embedded: Embedded, base: CaptureBase): TableChange | undefined {
  const { tableOid, tableName, loaded } = base
  const last = loaded.at(-1)
  if (last === undefined) {
    const { tuples, count } = copyOut(embedded, `SELECT * FROM ONLY ${tableName}`)
    return changeOf(tableOid, new Uint32Array(0), tuples, count)
  }
  if (base.rewritable && hasNewFile(embedded, base)) {
    const everything = Uint32Array.from(loaded, (_, position) => position)
    const { tuples, count } = copyOut(embedded, `SELECT * FROM ONLY ${tableName}`)
    return changeOf(tableOid, everything, tuples, count)
  }
  const boundary = `'${addressText(last)}'::tid`
  const { removed, strangers } = compareAddresses(
    loaded,
    readAddresses(embedded, `SELECT ctid FROM ONLY ${tableName} WHERE ctid <= ${boundary}`),
  )
  const before = strangers.map((address) => `"${addressText(address)}"`).join(',')
  const among = strangers.length === 0 ? '' : ` OR ctid = ANY ('{${before}}'::tid[])`
  const { tuples, count } = copyOut(
    embedded,
    `SELECT * FROM ONLY ${tableName} WHERE ctid > ${boundary}${among}`,
  )
  return changeOf(tableOid, removed, tuples, count)
}

/**
 * After SELECT … FOR UPDATE, as superuser: a lock is the transaction's number in xmax (heapam.c, heap_lock_tuple), which
 * is 0 in rows that were just loaded.
 */
export function lockedRows(embedded: Embedded, base: CaptureBase): LockedRows {
  const { tableOid, tableName, loaded } = base
  if (loaded.length === 0) return { tableOid, positions: new Uint32Array(0) }
  const locked = new Set(
    readAddresses(embedded, `SELECT ctid FROM ONLY ${tableName} WHERE xmax::text <> '0'`),
  )
  const positions = [...loaded.keys()].filter((position) => locked.has(loaded[position] ?? -1))
  return { tableOid, positions: Uint32Array.from(positions) }
}

/** Rows were loaded through the loader, which keeps the file that the table had. */
function hasNewFile(embedded: Embedded, { tableOid, tableName }: CaptureBase): boolean {
  const { tuples } = copyOut(
    embedded,
    `SELECT pg_relation_filenode('${loaderOf(tableOid).replaceAll("'", "''")}') IS DISTINCT FROM pg_relation_filenode('${tableName.replaceAll("'", "''")}')`,
  )
  // int16 fields (1), int32 length (1), the boolean
  return tuples[6] === 1
}

function changeOf(
  tableOid: number,
  removed: Uint32Array<ArrayBuffer>,
  inserted: Uint8Array,
  insertedCount: number,
): TableChange | undefined {
  if (insertedCount === 0 && removed.length === 0) return undefined
  return { tableOid, removed, inserted, insertedCount }
}

/**
 * Which loaded rows are gone (their positions), and which addresses up to the boundary were written by the statement: a
 * new version goes to the page of the old one when a gap was left there, in front of the boundary. Both lists rise.
 */
export function compareAddresses(
  loaded: readonly number[],
  present: readonly number[],
): { readonly removed: Uint32Array<ArrayBuffer>; readonly strangers: readonly number[] } {
  const removed: number[] = []
  const strangers: number[] = []
  let next = 0
  for (const [position, address] of loaded.entries()) {
    for (; (present[next] ?? Number.POSITIVE_INFINITY) < address; next += 1)
      strangers.push(present[next] ?? 0)
    if (present[next] === address) next += 1
    else removed.push(position)
  }
  return { removed: Uint32Array.from(removed), strangers }
}

function addressText(address: number): string {
  return `(${Math.floor(address / 65536)},${address % 65536})`
}
