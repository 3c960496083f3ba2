/**
 * Whether the rows that are there keep a new unique key, over all shards. For when every node has the table's new form: from then on
 * a node refuses rows of proxies that do not know the key (check-known-keys.ts there), so rows that nobody asserted are
 *
 * - committed, or
 * - of transactions that were prepared, or on their way to the log, before: each was stamped before the first timestamp taken here,
 *   at which a read waits for its outcome. The second timestamp is above the commit timestamps of all of them.
 *
 * Memory: 8 bytes a row. Rows whose hashes are equal are looked at a second time.
 */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { encodeKey, hashKey53, keyHasNull } from '#engine/columnar/key.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { ColumnSchema, KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { ScanPart } from '#engine/plan/fragment.js'
import { formatText } from '#engine/types/format-text.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import { scanShards } from '#nodes/proxy/distribute/fan-out.js'

type Streaming = Pick<DistributedStreaming, 'scan' | 'strongTimestamp'>

/**
 * @param removed rows that the transaction with the new key deletes (ascending)
 * @throws 23505 'could not create unique index'
 */
export async function verifyKeys(
  streaming: Streaming,
  schema: TableSchema,
  keys: readonly KeyConstraint[],
  removed: Float64Array,
  context: Context,
): Promise<void> {
  if (keys.length === 0) return
  const nothing = { op: 'constant', value: false } as const
  const before = { tableId: schema.tableId, output: [], filter: nothing }
  const shards = Array.from({ length: schema.shardCount }, (_, shard) => shard)
  const first = await streaming.strongTimestamp()
  for await (const _ of scanShards(streaming, { ...before, readAt: first }, shards, context)) {
    // Nothing passes: it waits.
  }
  const readAt = await streaming.strongTimestamp()
  const excludedRowIds = removed.length === 0 ? undefined : removed
  for (const key of keys) {
    const { tableId } = schema
    const fragment = { tableId, readAt, output: key.attnums, excludedRowIds }
    const parts = (): AsyncIterable<ScanPart> => scanShards(streaming, fragment, shards, context)
    await verifyKey(parts, schema, key)
  }
}

async function verifyKey(
  parts: () => AsyncIterable<ScanPart>,
  schema: TableSchema,
  key: KeyConstraint,
): Promise<void> {
  const columns = columnsOf(schema, key)
  const repeated = await repeatedHashes(parts(), key, columns)
  if (repeated.size === 0) return
  const seen = new Set<string>()
  for await (const { batch } of parts()) {
    for (const { encoded, row } of keysIn(batch, key, columns)) {
      if (!repeated.has(hashKey53(encoded))) continue
      if (seen.has(encoded)) throw duplicate(schema, key, columns, batch, row)
      seen.add(encoded)
    }
  }
}

async function repeatedHashes(
  parts: AsyncIterable<ScanPart>,
  key: KeyConstraint,
  columns: readonly ColumnSchema[],
): Promise<ReadonlySet<number>> {
  let hashes = new Float64Array(1024)
  let count = 0
  for await (const { batch } of parts) {
    for (const { encoded } of keysIn(batch, key, columns)) {
      if (count === hashes.length) {
        const larger = new Float64Array(2 * count)
        larger.set(hashes)
        hashes = larger
      }
      hashes[count] = hashKey53(encoded)
      count += 1
    }
  }
  const sorted = hashes.subarray(0, count).sort()
  const repeated = new Set<number>()
  for (let i = 1; i < count; i += 1) {
    const hash = sorted[i] ?? 0
    if (hash === sorted[i - 1]) repeated.add(hash)
  }
  return repeated
}

function* keysIn(
  { rowCount, columns }: ColumnBatch,
  key: KeyConstraint,
  schemas: readonly ColumnSchema[],
): Generator<{ readonly encoded: string; readonly row: number }> {
  const typeNames = schemas.map(({ typeName }) => typeName)
  for (let row = 0; row < rowCount; row += 1) {
    if (!key.nullsNotDistinct && keyHasNull(columns, row)) continue
    yield { encoded: encodeKey(columns, row, typeNames), row }
  }
}

function columnsOf(schema: TableSchema, key: KeyConstraint): readonly ColumnSchema[] {
  return key.attnums.flatMap((attnum) => schema.columns.find((one) => one.attnum === attnum) ?? [])
}

/** tuplesortvariants.c, comparetup_index_btree_tiebreak. */
function duplicate(
  schema: TableSchema,
  key: KeyConstraint,
  columns: readonly ColumnSchema[],
  batch: ColumnBatch,
  row: number,
): DatabaseError {
  const values = batch.columns.map((column, i) => {
    const typeName = columns[i]?.typeName ?? ''
    const datum = readDatum(column, row, typeName)
    if (datum === null) return 'null'
    return formatText(typeName, datum) ?? `\\x${Buffer.from(datum).toString('hex')}`
  })
  const names = columns.map(({ name }) => name).join(', ')
  return new DatabaseError(
    SqlState.uniqueViolation,
    `could not create unique index "${key.name}"`,
    {
      detail: `Key (${names})=(${values.join(', ')}) is duplicated.`,
      schema: schema.schemaName,
      table: schema.name,
      constraint: key.name,
    },
  )
}
