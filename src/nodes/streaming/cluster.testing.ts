/** Streaming nodes of several log channels over in-memory stores that outlive them, for tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Context } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import { native } from '#engine/index/native.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import {
  type ChannelWrite,
  type CommitRequest,
  logChannelOf,
  type StreamingNode,
  type TransactionId,
} from '#nodes/streaming/contract.js'
import type { StreamingLimits } from '#nodes/streaming/limits.js'
import { type LocalStreamingNode, openStreamingNode } from '#nodes/streaming/node.js'
import {
  context,
  type Doc,
  docAt,
  nameKeyOid,
  noRows,
  tableId,
} from '#nodes/streaming/streaming.testing.js'
import { type FaultSource, noFaults } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { type CrashSurvivors, MemoryWal, MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'

export interface Member {
  readonly logChannel: string
  readonly node: LocalStreamingNode
  /** The process dies: what was under way gets no answer. */
  readonly hasFailed: () => boolean
  crash(survivors?: CrashSurvivors): void
  stop(): Promise<void>
}

export interface StoredDoc extends Doc {
  readonly rowId: number
  readonly shard: number
}

export class Cluster {
  readonly #wal = new MemoryWalDisk()
  readonly #objects = new MemoryObjectsDisk()
  readonly #directory: string
  readonly members = new Map<string, Member>()
  readonly logChannelCount: number
  walFaults: FaultSource = noFaults
  readonly failures: unknown[] = []
  /** Nodes see it as one on another machine: every timestamp is waited for. */
  readonly coordinator: Coordinator
  #lives = 0
  #transactions = 0

  private constructor(directory: string, coordinator: Coordinator, logChannelCount: number) {
    this.#directory = directory
    this.coordinator = coordinator
    this.logChannelCount = logChannelCount
  }

  static async create(logChannelCount: number, clock: 'near' | 'remote'): Promise<Cluster> {
    const directory = await mkdtemp(join(tmpdir(), 'elanus-cluster-'))
    const meta = new MemoryMeta(new MemoryMetaDisk(), { runtime: systemRuntime })
    const coordinator = await openCoordinator({ meta, runtime: systemRuntime })
    const seen: Coordinator =
      clock === 'near' ? coordinator : { ...coordinator, timestampNow: () => undefined }
    return new Cluster(directory, seen, logChannelCount)
  }

  get logChannels(): string[] {
    return Array.from({ length: this.logChannelCount }, (_, i) => `log-${i}`)
  }

  async open(logChannel: string, limits: Partial<StreamingLimits> = {}): Promise<Member> {
    const runtime = systemRuntime
    const life = { ended: false }
    let failed = false
    this.#lives += 1
    const directory = join(this.#directory, String(this.#lives))
    const faults: FaultSource = (operation, target) => this.walFaults(operation, target)
    const wal = new MemoryWal(this.#wal, { runtime, faults })
    const objects = new MemoryObjects(this.#objects, {
      runtime,
      localDirectory: join(directory, 'cache'),
    })
    const queryNode = startQueryNode({ native, objects, runtime })
    const dataNode = await startDataNode({
      native,
      objects,
      runtime,
      temporaryDirectory: join(directory, 'tmp'),
      threads: 1,
    })
    const node = await openStreamingNode({
      wal,
      logChannel,
      logChannelCount: this.logChannelCount,
      coordinator: this.coordinator,
      queryNode,
      dataNode,
      native,
      runtime,
      limits: { retentionMs: 60_000, undecidedMs: 0, ...limits },
      background: 'manual',
      peers: (other) => this.members.get(other)?.node,
      onFailure: (error) => {
        failed = true
        if (!life.ended) this.failures.push(error)
      },
    })
    const member: Member = {
      logChannel,
      node,
      hasFailed: () => failed,
      crash: (survivors) => {
        life.ended = true
        wal.crash(survivors)
        objects.crash()
        this.members.delete(logChannel)
      },
      stop: async () => {
        await node.stop()
        await queryNode.stop()
        await dataNode.stop()
        await wal.close()
      },
    }
    this.members.set(logChannel, member)
    return member
  }

  async openAll(limits?: Partial<StreamingLimits>): Promise<void> {
    for (const logChannel of this.logChannels) await this.open(logChannel, limits)
  }

  node(logChannel: string): StreamingNode {
    const member = this.members.get(logChannel)
    if (member === undefined) throw new Error(`nobody owns ${logChannel}`)
    return member.node
  }

  ownerOf(shard: number, table = tableId): string {
    return logChannelOf(table, shard, this.logChannelCount)
  }

  async newTransactionId(decider: string): Promise<TransactionId> {
    this.#transactions += 1
    const unique = this.#transactions
    return `${decider}/${await this.node(decider).term()}/${unique}`
  }

  /** Visible rows of all shards at the timestamp; a shard without an owner is passed over. */
  async rows(
    readAt: Timestamp,
    shards: readonly number[],
    table = tableId,
    within = context,
  ): Promise<StoredDoc[]> {
    const parts = await Promise.all(
      shards.map((shard) => this.#rowsOf(table, shard, readAt, within)),
    )
    return parts.flat()
  }

  async #rowsOf(
    table: number,
    shard: number,
    readAt: Timestamp,
    within: Context,
  ): Promise<StoredDoc[]> {
    const found: StoredDoc[] = []
    const fragment = { tableId: table, shard, readAt, output: [1, 2] }
    const owner = this.node(this.ownerOf(shard, table))
    for await (const { rowIds, batch } of owner.scan(fragment, within)) {
      rowIds.forEach((rowId, row) => {
        found.push({ rowId, shard, ...docAt(batch, row) })
      })
    }
    return found
  }

  async close(): Promise<void> {
    for (const member of this.members.values()) await member.stop()
    await this.coordinator.stop()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

export function request(
  writes: readonly (Partial<ChannelWrite> & { readonly shard: number })[],
  more: Partial<CommitRequest> = {},
): CommitRequest {
  return {
    writes: writes.map((write) => ({
      tableId,
      truncate: false,
      deletes: noRows,
      inserts: [],
      keysElsewhere: [nameKeyOid],
      ...write,
    })),
    staged: [],
    references: [],
    readAt: 0 as Timestamp,
    ...more,
  }
}
