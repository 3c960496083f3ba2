/**
 * Which rows a statement changed, without triggers. The heap of a captured table is empty when rows are loaded, so that
 * loaded rows have the addresses up to that of the last one, and everything the statement writes comes behind. Rows of
 * an unfinished transaction are never pruned: an address up to the boundary is a loaded row or gone.
 */
import { invariant } from '#base/errors.js'
import type { TableChange } from '#postgres/contract.js'
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
}

/** After loading, before the statement. */
export function captureBase(
  embedded: Embedded,
  tableOid: number,
  tableName: string,
  rowCount: number,
): CaptureBase {
  const loaded =
    rowCount === 0 ? [] : readAddresses(embedded, `SELECT ctid FROM ONLY ${loaderOf(tableOid)}`)
  invariant(
    'capture-order',
    loaded.length === rowCount && (rowCount === 0 || loaded[0] === firstAddress),
    () => `table ${tableOid}: ${loaded.length} of ${rowCount} rows, from ${loaded[0]}`,
  )
  return { tableOid, tableName, loaded }
}

/** After the statement, as superuser, before the rollback. Undefined: nothing changed. */
export function captureChange(embedded: Embedded, base: CaptureBase): TableChange | undefined {
  const { tableOid, tableName, loaded } = base
  const last = loaded.at(-1)
  const boundary = last === undefined ? undefined : `'${addressText(last)}'::tid`
  const behind = boundary === undefined ? '' : ` WHERE ctid > ${boundary}`
  const { tuples, count } = copyOut(embedded, `SELECT * FROM ONLY ${tableName}${behind}`)
  let removed = new Uint32Array(0)
  if (boundary !== undefined) {
    const left = readAddresses(
      embedded,
      `SELECT ctid FROM ONLY ${tableName} WHERE ctid <= ${boundary}`,
    )
    if (left.length < loaded.length) removed = missingFrom(loaded, left)
  }
  if (count === 0 && removed.length === 0) return undefined
  return { tableOid, removed, inserted: tuples, insertedCount: count }
}

/** Indexes of `all` that are not in `left`; both rise. */
export function missingFrom(
  all: readonly number[],
  left: readonly number[],
): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(all.length - left.length)
  let at = 0
  let next = 0
  for (let i = 0; i < all.length; i += 1) {
    if (all[i] === left[next]) next += 1
    else out[at++] = i
  }
  return out
}

function addressText(address: number): string {
  return `(${Math.floor(address / 65536)},${address % 65536})`
}
