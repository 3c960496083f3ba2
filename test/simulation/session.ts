/** A client's session on a proxy: reads and transactions as the SQL front end would ask for them, told to the model. */
import { backgroundContext } from '#base/context.js'
import { DatabaseError, SqlState, StoreError, UnreachableError } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { encodeKey, shardOf } from '#engine/columnar/key.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { FilterNode } from '#engine/plan/filter.js'
import type { ScanFragment } from '#engine/plan/fragment.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import type { ChannelWrite, KeyReference, StagedRows } from '#nodes/streaming/contract.js'
import type { Model, SeenRow, Snapshot, Transaction, Version } from './model.js'
import type { SimProcess } from './process.js'
import type { Random } from './random.js'
import { attnumOf, batchOf, int8Datum, placeOf, primaryKeyOf, type Row, rowsOf } from './tables.js'
import type { World } from './world.js'

/** A row as it was read: the version it is, and its row id. */
export interface Found extends SeenRow {
  readonly version: Version
  readonly shard: number
}

export interface Changes {
  readonly inserts?: readonly {
    readonly tableId: number
    readonly id: number
    readonly value: number
  }[]
  readonly deletes?: readonly Found[]
  readonly truncates?: readonly number[]
  readonly references?: readonly KeyReference[]
  /** Rows that have gone to the log before. */
  readonly staged?: {
    readonly rows: readonly StagedRows[]
    readonly of: readonly (Row & { readonly tableId: number })[]
  }
  readonly readAt: Timestamp
}

export type Ending =
  | { readonly kind: 'committed' | 'unknown' }
  | { readonly kind: 'aborted'; readonly sqlState: string }

export interface Catalog {
  /** Of the newest form that nodes were given: each is above all before. */
  form: number
  /** The table of the name drafts. */
  draftsId: number
  /** Each new table has an id above all before. */
  newestTableId: number
  /** By table: as the newest DDL has it. */
  readonly tables: Map<number, TableSchema>
  /** Whoever has not heard of it goes on with them. */
  readonly dropped: Map<number, TableSchema>
  readonly logChannelOf: (tableId: number, shard: number) => string
  /** Whoever changes tables, or tells nodes about them: one process at a time, as the DDL lock has it. */
  holder: SimProcess | undefined
}

export interface SessionOptions {
  readonly name: string
  readonly world: World
  readonly process: SimProcess
  readonly streaming: DistributedStreaming
  readonly model: Model
  readonly catalog: Catalog
  readonly random: Random
  /** Waited for when everything is read and a commit is about to be asked for. */
  readonly beforeCommit?: (() => Promise<void>) | undefined
}

interface Condition {
  readonly tableId: number
  readonly readAt: Timestamp
  readonly filter: FilterNode | undefined
}

interface Nearest extends Condition {
  readonly at: Float32Array
  readonly k: number
}

const countAndSum = [
  { kind: 'countStar', attnum: 0, as: 'native' },
  { kind: 'sum', attnum: attnumOf.value, as: 'native' },
] as const

const context = backgroundContext

export class Session {
  readonly name: string
  readonly world: World
  readonly process: SimProcess
  readonly streaming: DistributedStreaming
  readonly model: Model
  readonly catalog: Catalog
  readonly random: Random
  readonly #beforeCommit: (() => Promise<void>) | undefined

  constructor(options: SessionOptions) {
    this.#beforeCommit = options.beforeCommit
    this.name = options.name
    this.world = options.world
    this.process = options.process
    this.streaming = options.streaming
    this.model = options.model
    this.catalog = options.catalog
    this.random = options.random
  }

  say(what: string): void {
    this.world.say(this.name, what)
  }

  schemaOf(tableId: number): TableSchema {
    const { tables, dropped } = this.catalog
    const schema = tables.get(tableId) ?? dropped.get(tableId)
    if (schema === undefined) throw new Error(`no table ${tableId}`)
    return schema
  }

  shardOf(tableId: number, id: number): number {
    const column = { kind: 'int64' as const, length: 1, values: BigInt64Array.of(BigInt(id)) }
    return shardOf(encodeKey([column], 0), this.schemaOf(tableId).shardCount)
  }

  /** What a strong read uses: later than everything that anybody was told before. */
  async strongTimestamp(): Promise<Timestamp> {
    const known = this.model.newestKnown
    const at = await this.streaming.strongTimestamp()
    if (at < known) {
      this.world.violate(
        'TS-1',
        `${this.name} got ${at} to read at, ${known} had been given out before it asked`,
      )
    }
    return at
  }

  /** All rows of the tables at one timestamp. Judged. */
  async snapshot(
    tableIds: readonly number[],
    readAt: Timestamp,
  ): Promise<ReadonlyMap<number, readonly SeenRow[]>> {
    const tables = new Map<number, SeenRow[]>()
    await Promise.all(
      tableIds.map(async (tableId) => {
        const { shardCount } = this.schemaOf(tableId)
        const parts = await Promise.all(
          Array.from({ length: shardCount }, (_, shard) =>
            this.scan({ tableId, shard, readAt, output: valueColumns }),
          ),
        )
        tables.set(tableId, parts.flat())
      }),
    )
    this.judge({ readAt, who: this.name, tables })
    return tables
  }

  judge(snapshot: Snapshot): void {
    const { model, world } = this
    world.count('snapshot judged')
    model.judge(snapshot)
    model.noteTimestamp(snapshot.readAt)
  }

  async scan(fragment: ScanFragment): Promise<SeenRow[]> {
    const rows: SeenRow[] = []
    for await (const { rowIds, batch } of this.streaming.scan(fragment, context)) {
      rowsOf(batch).forEach((row, i) => {
        rows.push({ ...row, rowId: rowIds[i] ?? 0 })
      })
    }
    return rows
  }

  /** By primary key. */
  async find(
    tableId: number,
    ids: readonly number[],
    readAt: Timestamp,
  ): Promise<readonly Found[]> {
    const found: Found[] = []
    for (const id of new Set(ids)) {
      const shard = this.shardOf(tableId, id)
      const rows = await this.scan({
        tableId,
        shard,
        readAt,
        output: valueColumns,
        keys: { indexOid: primaryKeyOf(tableId), values: [[int8Datum(id)]] },
      })
      if (rows.length > 1)
        this.world.violate(
          'KEY-1',
          `${this.name} finds key ${id} of ${tableId} ${rows.length} times at ${readAt}`,
        )
      for (const row of rows) found.push(this.known(tableId, row, shard, readAt))
    }
    return found
  }

  known(tableId: number, row: SeenRow, shard: number, readAt: Timestamp): Found {
    const version = this.model.version(row.tag)
    if (version === undefined || version.tableId !== tableId) {
      this.world.violate('VIEW-1', `nobody wrote ${JSON.stringify(row)} to ${tableId}`)
      throw new Error('unknown row')
    }
    if (version.by.status === 'aborted' || version.by.low >= readAt) {
      this.world.violate(
        'VIEW-1',
        `${this.name} at ${readAt} finds ${JSON.stringify(row)} too early`,
      )
    }
    // What is built upon it is certainly later.
    version.by.high = Math.min(version.by.high, readAt)
    this.model.noteTimestamp(readAt)
    return { ...row, version, shard }
  }

  /** The k nearest of the table, over all shards. */
  async nearest(wanted: Nearest): Promise<readonly SeenRow[]> {
    const { tableId, readAt, at, k, filter } = wanted
    const { shardCount } = this.schemaOf(tableId)
    const parts = await Promise.all(
      Array.from({ length: shardCount }, (_, shard) =>
        this.streaming.search(
          {
            tableId,
            shard,
            readAt,
            attnum: attnumOf.place,
            metric: 'l2',
            query: at,
            k,
            efSearch: 40,
            mode: this.random.chance(0.5) ? 'auto' : 'exact',
            output: valueColumns,
            filter,
          },
          context,
        ),
      ),
    )
    return parts
      .flatMap(({ distances, rowIds, batch }) =>
        rowsOf(batch).map((row, i) => ({
          ...row,
          rowId: rowIds[i] ?? 0,
          distance: distances[i] ?? 0,
        })),
      )
      .sort((a, b) => a.distance - b.distance || a.rowId - b.rowId)
      .slice(0, k)
  }

  /** Rows and the sum of their values, over all shards. */
  async total({
    tableId,
    readAt,
    filter,
  }: Condition): Promise<{ readonly count: number; readonly sum: bigint }> {
    const { shardCount } = this.schemaOf(tableId)
    const parts = await Promise.all(
      Array.from({ length: shardCount }, (_, shard) =>
        this.streaming.aggregate(
          { tableId, shard, readAt, filter, aggregates: countAndSum },
          context,
        ),
      ),
    )
    return {
      count: parts.reduce((before, { values }) => before + (values[0]?.count ?? 0), 0),
      sum: parts.reduce(
        (before, { values }) => before + BigInt(values[1]?.value?.toString() ?? 0),
        0n,
      ),
    }
  }

  /** Waits for others who are to commit, too. */
  async meet(): Promise<void> {
    await this.#beforeCommit?.()
  }

  /** Commits, and tells the model what it was told. */
  async commit(what: string, changes: Changes): Promise<Ending> {
    const { inserts = [], deletes = [], truncates = [], references = [], staged, readAt } = changes
    await this.meet()
    const rows = inserts.map((row) => ({ ...row, tag: this.model.takeTag() }))
    const transaction = this.model.begin(
      `${this.name} ${what}`,
      [...rows, ...(staged?.of ?? [])],
      deletes.map(({ version }) => version),
      truncates,
    )
    this.say(`commits ${transaction.number} (${what}): ${sketch(changes)}`)
    const writes = this.#writes(rows, deletes, truncates)
    try {
      const { timestamp } = await this.streaming.commit(
        { writes, staged: staged?.rows ?? [], references, readAt },
        context,
      )
      this.model.committed(transaction, timestamp)
      this.say(`committed ${transaction.number} at ${timestamp}`)
      this.world.count('commit')
      if (this.#spans(writes)) this.world.count('commit over several log channels')
      return { kind: 'committed' }
    } catch (error) {
      return this.#failed(transaction, error)
    }
  }

  #failed(transaction: Transaction, error: unknown): Ending {
    const sqlState = error instanceof DatabaseError ? error.sqlState : undefined
    if (isUnknown(error)) {
      this.say(`does not know about ${transaction.number}: ${String(error)}`)
      this.world.count('commit without answer')
      return { kind: 'unknown' }
    }
    this.say(`could not commit ${transaction.number}: ${sqlState} ${String(error)}`)
    this.model.aborted(transaction)
    this.world.count(`aborted ${sqlState ?? 'by a store'}`)
    return { kind: 'aborted', sqlState: sqlState ?? '' }
  }

  #writes(
    rows: readonly (Row & { readonly tableId: number })[],
    deletes: readonly Found[],
    truncates: readonly number[],
  ): ChannelWrite[] {
    const writes = new Map<
      string,
      { tableId: number; shard: number; deletes: number[]; rows: Row[] }
    >()
    const writeOf = (tableId: number, shard: number) => {
      const name = `${tableId}/${shard}`
      const write = writes.get(name) ?? { tableId, shard, deletes: [], rows: [] }
      writes.set(name, write)
      return write
    }
    for (const row of rows) writeOf(row.tableId, this.shardOf(row.tableId, row.id)).rows.push(row)
    for (const { version, shard, rowId } of deletes)
      writeOf(version.tableId, shard).deletes.push(rowId)
    for (const tableId of truncates) {
      for (let shard = 0; shard < this.schemaOf(tableId).shardCount; shard += 1)
        writeOf(tableId, shard)
    }
    return [...writes.values()].map((write) => ({
      tableId: write.tableId,
      shard: write.shard,
      truncate: truncates.includes(write.tableId),
      deletes: Float64Array.from(write.deletes).sort(),
      inserts: write.rows.length === 0 ? [] : [this.batch(write.tableId, write.rows)],
    }))
  }

  batch(tableId: number, rows: readonly Row[]): ColumnBatch {
    return batchOf(this.schemaOf(tableId), rows)
  }

  #spans(writes: readonly ChannelWrite[]): boolean {
    return (
      new Set(writes.map(({ tableId, shard }) => this.catalog.logChannelOf(tableId, shard))).size >
      1
    )
  }
}

export const valueColumns = [attnumOf.id, attnumOf.value, attnumOf.tag] as const

/** Of a failed commit: whether it may have happened all the same. */
export function isUnknown(error: unknown): boolean {
  if (error instanceof StoreError || error instanceof UnreachableError)
    return error.outcome === 'indeterminate'
  if (!(error instanceof DatabaseError)) return true
  const { cause } = error.fields
  if (cause instanceof StoreError || cause instanceof UnreachableError)
    return cause.outcome === 'indeterminate'
  return (unclearStates as readonly string[]).includes(error.sqlState)
}

const unclearStates = [
  SqlState.adminShutdown,
  SqlState.ioError,
  SqlState.connectionFailure,
  '08007',
]

/** Of an operation that does not matter to the model: it may be tried again. */
export function isPassing(error: unknown): boolean {
  if (error instanceof StoreError || error instanceof UnreachableError) return true
  if (!(error instanceof DatabaseError)) return false
  return passingStates.includes(error.sqlState)
}

const passingStates: readonly string[] = [
  ...unclearStates,
  SqlState.cannotConnectNow,
  SqlState.serializationFailure,
  SqlState.objectNotInPrerequisiteState,
  SqlState.queryCanceled,
  SqlState.uniqueViolation,
  // Written in the form of before a column was added.
  SqlState.featureNotSupported,
  SqlState.undefinedTable,
  SqlState.snapshotTooOld,
  SqlState.outOfMemory,
]

export function nearestOf(
  rows: readonly SeenRow[],
  at: Float32Array,
  k: number,
): readonly number[] {
  return rows
    .map((row) => ({ tag: row.tag, rowId: row.rowId, distance: distanceOf(row, at) }))
    .sort((a, b) => a.distance - b.distance || a.rowId - b.rowId)
    .slice(0, k)
    .map(({ tag }) => tag)
}

export function distanceOf(row: SeenRow, at: Float32Array): number {
  const place = placeOf(row)
  return Math.sqrt(((place[0] ?? 0) - (at[0] ?? 0)) ** 2 + ((place[1] ?? 0) - (at[1] ?? 0)) ** 2)
}

function sketch({ inserts = [], deletes = [], truncates = [], staged, readAt }: Changes): string {
  const added = inserts.map(({ tableId, id, value }) => `+${tableId}:${id}=${value}`)
  const removed = deletes.map(({ version }) => `-${version.tableId}:${version.id}=${version.value}`)
  const emptied = truncates.map((tableId) => `truncate ${tableId}`)
  const copied = staged === undefined ? [] : [`${staged.of.length} staged`]
  return `${[...emptied, ...removed, ...added, ...copied].join(' ')} read at ${readAt}`
}
