/** Unique keys among the rows that an open transaction has written: PostgreSQL forgets them after every statement. */
import type { ColumnBatch } from '#engine/columnar/column.js'
import { encodeKey, keyHasNull } from '#engine/columnar/key.js'
import type { KeyConstraint } from '#engine/columnar/schema.js'
import type { TableOverlay } from '#nodes/proxy/session/transaction.js'
import { ownBatches } from '#nodes/proxy/statements/own-batches.js'
import { storedColumns } from '#nodes/proxy/statements/read-rows.js'
import type { TableInfo } from '#postgres/contract.js'

interface Remembered {
  readonly generation: number
  batchCount: number
  /** By index OID. */
  readonly keys: ReadonlyMap<number, Set<string>>
}

// One transaction may insert many rows one by one: keys of rows seen before are not made again.
const remembered = new WeakMap<TableOverlay, Remembered>()

/**
 * The first row of `inserted` whose key another row of the transaction has.
 * @param removed positions among the overlay's live rows that the statement replaces or deletes
 */
export function findOwnConflict(
  table: TableInfo,
  overlay: TableOverlay | undefined,
  inserted: ColumnBatch,
  removed: readonly number[],
): { readonly key: KeyConstraint; readonly row: number } | undefined {
  if (overlay === undefined || overlay.rowCount === 0) return undefined
  const taken =
    removed.length === 0 ? keysOf(table, overlay) : keysWithout(table, overlay, new Set(removed))
  for (const key of table.keys) {
    const set = taken.get(key.indexOid)
    if (set === undefined || set.size === 0) continue
    for (const [row, text] of keyTexts(table, key, inserted)) if (set.has(text)) return { key, row }
  }
  return undefined
}

/** The first row whose key an earlier row of the same batch has; of keys that a shard cannot judge alone. */
export function findTwin(
  table: TableInfo,
  keys: readonly KeyConstraint[],
  inserted: ColumnBatch,
): { readonly key: KeyConstraint; readonly row: number } | undefined {
  if (inserted.rowCount < 2) return undefined
  for (const key of keys) {
    const seen = new Set<string>()
    for (const [row, text] of keyTexts(table, key, inserted)) {
      if (seen.has(text)) return { key, row }
      seen.add(text)
    }
  }
  return undefined
}

function keysOf(table: TableInfo, overlay: TableOverlay): ReadonlyMap<number, Set<string>> {
  let known = remembered.get(overlay)
  if (known === undefined || known.generation !== overlay.generation) {
    known = {
      generation: overlay.generation,
      batchCount: 0,
      keys: new Map(table.keys.map((key) => [key.indexOid, new Set<string>()])),
    }
    remembered.set(overlay, known)
  }
  const batches = ownBatches(table, overlay)
  for (const batch of batches.slice(known.batchCount)) {
    for (const key of table.keys) {
      for (const [, text] of keyTexts(table, key, batch)) known.keys.get(key.indexOid)?.add(text)
    }
  }
  known.batchCount = batches.length
  return known.keys
}

function keysWithout(
  table: TableInfo,
  overlay: TableOverlay,
  removed: ReadonlySet<number>,
): ReadonlyMap<number, Set<string>> {
  const keys = new Map(table.keys.map((key) => [key.indexOid, new Set<string>()]))
  let base = 0
  for (const batch of ownBatches(table, overlay)) {
    for (const key of table.keys) {
      for (const [row, text] of keyTexts(table, key, batch)) {
        if (!removed.has(base + row)) keys.get(key.indexOid)?.add(text)
      }
    }
    base += batch.rowCount
  }
  return keys
}

/** A name for each unique key of each row. */
export function* keyNames(table: TableInfo, batch: ColumnBatch): Generator<string> {
  for (const key of table.keys) {
    for (const [, text] of keyTexts(table, key, batch)) yield `${key.indexOid}/${text}`
  }
}

function* keyTexts(
  table: TableInfo,
  key: KeyConstraint,
  batch: ColumnBatch,
): Generator<readonly [number, string]> {
  const stored = storedColumns(table)
  const positions = key.attnums.map((attnum) =>
    stored.findIndex((column) => column.attnum === attnum),
  )
  const columns = positions.flatMap((position) => {
    const column = batch.columns[position]
    return column === undefined ? [] : [column]
  })
  if (columns.length !== positions.length) return
  const typeNames = positions.map((position) => stored[position]?.typeName ?? '')
  for (let row = 0; row < batch.rowCount; row += 1) {
    if (!key.nullsNotDistinct && keyHasNull(columns, row)) continue
    yield [row, encodeKey(columns, row, typeNames)]
  }
}
