/** A streaming node over in-memory stores that outlive it, for tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { backgroundContext } from '#base/context.js'
import type { Runtime } from '#base/runtime.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { int64Datum, vectorDatum } from '#engine/columnar/read-datum.js'
import type { ColumnSchema, KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { native } from '#engine/index/native.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import type { DataNode } from '#nodes/data/contract.js'
import { startDataNode } from '#nodes/data/data-node.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import type { ChannelWrite, CommitRequest } from '#nodes/streaming/contract.js'
import type { StreamingLimits } from '#nodes/streaming/limits.js'
import { type LocalStreamingNode, openStreamingNode } from '#nodes/streaming/node.js'
import { openReopeningStreamingNode } from '#nodes/streaming/reopening-node.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'
import { type FaultSource, noFaults } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { type CrashSurvivors, MemoryWal, MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'

export const tableId = 16384
export const primaryKeyOid = 16390
export const nameKeyOid = 16391
export const vectorIndexOid = 16395
export const context = backgroundContext

const column = (
  attnum: number,
  name: string,
  typeName: string,
  kind: ColumnSchema['kind'],
  width = 0,
) => ({
  attnum,
  name,
  typeOid: 20,
  typeName,
  typmod: -1,
  kind,
  width,
  notNull: attnum === 1,
  missing: null,
})

export const primaryKey: KeyConstraint = {
  name: 'docs_pkey',
  indexOid: primaryKeyOid,
  attnums: [1],
  primary: true,
  nullsNotDistinct: false,
}

export const docs: TableSchema = {
  tableId,
  incarnation: 1,
  version: 1,
  schemaName: 'public',
  name: 'docs',
  columns: [
    column(1, 'id', 'int8', 'int64'),
    column(2, 'name', 'text', 'bytes'),
    column(3, 'embedding', 'vector', 'vector', 4),
  ],
  keys: [primaryKey],
  vectorIndexes: [],
  shardCount: 1,
}

export interface Doc {
  readonly id: number
  readonly name: string | null
}

export function vectorOf(id: number): Float32Array {
  return Float32Array.of(id, id * id, -id, 1)
}

export function batchOf(rows: readonly Doc[]): ColumnBatch {
  const builders = docs.columns.map(({ kind, width }) => createColumnBuilder(kind, width))
  for (const { id, name } of rows) {
    const values: Datum[] = [
      int64Datum(BigInt(id)),
      name === null ? null : Buffer.from(name),
      vectorDatum(vectorOf(id)),
    ]
    builders.forEach((builder, i) => {
      builder.appendDatum(values[i] ?? null)
    })
  }
  return { rowCount: rows.length, columns: builders.map((builder) => builder.finish()) }
}

export function insert(...rows: readonly Doc[]): Partial<ChannelWrite> {
  return { inserts: rows.length === 0 ? [] : [batchOf(rows)] }
}

export class World {
  readonly meta: MemoryMetaDisk
  readonly wal: MemoryWalDisk
  readonly objects: MemoryObjectsDisk
  /** Whether there may be other owners of the log channel, and other coordinators. */
  shared = false
  /** Instead of one of its own. */
  givenCoordinator: Coordinator | undefined
  /** What stands between the streaming node and the others. */
  queryNodeSeen: (node: QueryNode) => QueryNode = (node) => node
  dataNodeSeen: (node: DataNode) => DataNode = (node) => node
  clockMs = 0
  walFaults: FaultSource = noFaults
  metaFaults: FaultSource = noFaults
  objectFaults: FaultSource = (operation, target) => this.metaFaults(operation, target)
  failures: unknown[] = []
  readonly runtime: Runtime = {
    ...systemRuntime,
    nowMs: () => systemRuntime.nowMs() + this.clockMs,
  }
  readonly #directory: string
  #stores: { crash(survivors?: CrashSurvivors): void }[] = []
  #lives = 0
  #life = { ended: false }
  #stop: (() => Promise<void>) | undefined
  /** Of the lives to come: what rows may take, what segments may take. */
  growingBytes = Number.POSITIVE_INFINITY
  sealedBytes = Number.POSITIVE_INFINITY
  /** A node that does its background work by itself. */
  background: 'manual' | 'automatic' = 'manual'
  coordinator!: Coordinator
  node!: LocalStreamingNode

  private constructor(directory: string, other: World | undefined) {
    this.#directory = directory
    this.meta = other?.meta ?? new MemoryMetaDisk()
    this.wal = other?.wal ?? new MemoryWalDisk()
    this.objects = other?.objects ?? new MemoryObjectsDisk()
  }

  /** @param other another process over the same stores */
  static async create(other?: World): Promise<World> {
    return new World(await mkdtemp(join(tmpdir(), 'elanus-streaming-')), other)
  }

  async open(
    limits: Partial<StreamingLimits> = {},
    after: 'stays failed' | 'reopening' = 'stays failed',
    logChannelCount = 1,
    logChannel = 'log-0',
  ): Promise<LocalStreamingNode> {
    const { runtime } = this
    const life = { ended: false }
    // A directory per life: the dead one may still be writing.
    this.#lives += 1
    const directory = join(this.#directory, String(this.#lives))
    this.#life = life
    const path: FaultSource = (operation, target) =>
      operation.startsWith('wal.')
        ? this.walFaults(operation, target)
        : operation.startsWith('objects.')
          ? this.objectFaults(operation, target)
          : this.metaFaults(operation, target)
    const meta = new MemoryMeta(this.meta, { runtime, faults: path })
    const wal = new MemoryWal(this.wal, { runtime, faults: path })
    const objects = new MemoryObjects(this.objects, {
      runtime,
      faults: path,
      localDirectory: join(directory, 'cache'),
    })
    const leadership = this.shared ? 'elected' : 'exclusive'
    this.coordinator =
      this.givenCoordinator ?? (await openCoordinator({ meta, runtime, leadership }))
    const queryNode = startQueryNode({
      native,
      objects,
      runtime,
      memoryBytes: this.sealedBytes,
    })
    const dataNode = await startDataNode({
      native,
      objects,
      runtime,
      temporaryDirectory: join(directory, 'tmp'),
      threads: 1,
    })
    const openNode = after === 'reopening' ? openReopeningStreamingNode : openStreamingNode
    this.node = await openNode({
      wal,
      logChannel,
      logChannelCount,
      coordinator: this.coordinator,
      queryNode: this.queryNodeSeen(queryNode),
      dataNode: this.dataNodeSeen(dataNode),
      native,
      runtime,
      limits: { retentionMs: 60_000, ...limits },
      ownership: this.shared ? 'leased' : 'exclusive',
      ...(this.background === 'manual' ? { background: this.background } : {}),
      memory: new WriteMemory({ runtime, hardBytes: this.growingBytes }),
      onFailure: (error) => {
        // What a dead process says nobody hears.
        if (!life.ended) this.failures.push(error)
      },
    })
    this.#stores = [meta, wal, objects].filter(
      (store): store is typeof store & { crash(): void } => 'crash' in store,
    )
    const { node } = this
    this.#stop = async () => {
      await node.stop()
      await queryNode.stop()
      await dataNode.stop()
      await wal.close()
    }
    return node
  }

  /** The process dies: what was under way gets no answer. */
  crash(survivors?: CrashSurvivors): void {
    this.#life.ended = true
    for (const store of this.#stores) store.crash(survivors)
    this.#stop = undefined
  }

  async close(): Promise<void> {
    await this.#stop?.()
    await rm(this.#directory, { recursive: true, force: true })
  }

  async commit(
    write: Partial<ChannelWrite>,
    request: Partial<CommitRequest> = {},
  ): Promise<Timestamp> {
    const whole = { tableId, shard: 0, truncate: false, deletes: noRows, inserts: [], ...write }
    const base = { writes: [whole], staged: [], references: [] }
    const readAt = request.readAt ?? this.node.serviceTime()
    const { timestamp } = await this.node.commit({ ...base, ...request, readAt }, context)
    return timestamp
  }

  /** Visible rows, with their row ids, by row id. */
  async rows(readAt = this.node.serviceTime()): Promise<(Doc & { readonly rowId: number })[]> {
    const found: (Doc & { readonly rowId: number })[] = []
    const fragment = { tableId, shard: 0, readAt, output: [1, 2] }
    for await (const { rowIds, batch } of this.node.scan(fragment, context)) {
      rowIds.forEach((rowId, row) => {
        found.push({ rowId, ...docAt(batch, row) })
      })
    }
    return found.sort((a, b) => a.rowId - b.rowId)
  }

  async ids(readAt?: Timestamp): Promise<number[]> {
    return (await this.rows(readAt)).map(({ id }) => id).sort((a, b) => a - b)
  }

  async rowIdsOf(...ids: readonly number[]): Promise<Float64Array> {
    const rows = await this.rows()
    return Float64Array.from(rows.filter(({ id }) => ids.includes(id)).map(({ rowId }) => rowId))
  }

  async nearest(query: Float32Array, k: number, readAt = this.node.serviceTime()) {
    const part = await this.node.search(
      {
        tableId,
        shard: 0,
        readAt,
        attnum: 3,
        metric: 'l2',
        query,
        k,
        efSearch: 40,
        mode: 'exact',
        output: [1, 2],
      },
      context,
    )
    return Array.from(part.rowIds, (_, row) => docAt(part.batch, row).id)
  }
}

export const noRows = new Float64Array(0)

export function docAt(batch: ColumnBatch, row: number): Doc {
  const [id, name] = batch.columns
  if (id?.kind !== 'int64' || name?.kind !== 'bytes')
    throw new Error('other columns than asked for')
  const isNull =
    name.validity !== undefined && (((name.validity[row >> 3] ?? 0) >> (row & 7)) & 1) === 0
  const bytes = name.values.subarray(name.offsets[row], name.offsets[row + 1])
  return { id: Number(id.values[row]), name: isNull ? null : Buffer.from(bytes).toString() }
}
