/**
 * Planted bugs: for each invariant one that breaks it, put around the real parts from outside. A simulation that does not find
 * them is not worth its time (simulation.test.ts).
 */
import { backgroundContext } from '#base/context.js'
import { DatabaseError, SqlState, StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import { Channel } from '#nodes/streaming/channel.js'
import type { CommitRequest, StreamingNode } from '#nodes/streaming/contract.js'
import { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'
import { FaultyPath, noFaults } from '#storage/faults.js'
import type { ObjectStore } from '#storage/objects/objects.js'
import type { MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'
import type { Wal } from '#storage/wal/wal.js'
import type { Random } from './random.js'
import { type Settings, withEmptying, withMovingOwners, withUpkeep } from './settings.js'

export interface Bug {
  readonly invariantName: string
  readonly alsoShowsAs?: readonly string[]
  readonly says: string
  /** Under which it shows sooner. */
  readonly settings?: (settings: Settings) => Settings
  /** Nobody asks whether there is a later leader. */
  readonly trustsLeaders?: boolean
  /** What a client withdraws and pays in are not the same. */
  readonly paysTwice?: boolean
  readonly coordinator?: (coordinator: Coordinator, random: Random) => Coordinator
  readonly streaming?: (node: StreamingNode, random: Random) => StreamingNode
  readonly facade?: (streaming: DistributedStreaming) => DistributedStreaming
  readonly wal?: (wal: Wal, disk: MemoryWalDisk, random: Random) => Wal
  /** Changes something inside the parts. @returns takes it back */
  readonly plant?: () => () => void
  readonly objects?: (objects: ObjectStore, random: Random) => ObjectStore
}

/** Whoever writes what nobody may write. */
const nobody = new FaultyPath(systemRuntime, noFaults)

export const bugs = {
  'leader-unconfirmed': {
    invariantName: 'TS-1',
    says: 'a deposed coordinator hands out timestamps, because it does not ask whether it is the newest',
    trustsLeaders: true,
    settings: (settings) => ({ ...settings, election: 'ordered' }),
  },
  'timestamp-repeated': {
    invariantName: 'TS-1',
    says: 'the oracle gives the same timestamp twice now and then',
    coordinator(coordinator, random) {
      let last: Timestamp | undefined
      return {
        ...coordinator,
        async timestamp(...given) {
          const isRepeated = last !== undefined && random.chance(0.05)
          if (!isRepeated || last === undefined) last = await coordinator.timestamp(...given)
          return last
        },
      }
    },
  },
  'append-forgotten': {
    invariantName: 'WAL-1',
    says: 'the log acknowledges an append that it has not written',
    wal: (wal, disk, random) => ({
      openWriter: async (logChannel) => {
        const writer = await wal.openWriter(logChannel)
        return {
          term: writer.term,
          close: () => writer.close(),
          append: async (payloads) => {
            if (!random.chance(0.02)) return await writer.append(payloads)
            const { end } = disk.channel(logChannel)
            return payloads.map((_, i) => end + i)
          },
        }
      },
      read: (logChannel, from) => wal.read(logChannel, from),
      endPosition: (logChannel) => wal.endPosition(logChannel),
      truncate: (logChannel, before) => wal.truncate(logChannel, before),
      close: () => wal.close(),
    }),
  },
  'fence-open': {
    invariantName: 'WAL-3',
    says: 'the log takes appends of writers that have been fenced',
    wal: (wal, disk) => ({
      openWriter: async (logChannel) => {
        const writer = await wal.openWriter(logChannel)
        return {
          term: writer.term,
          close: () => writer.close(),
          append: async (payloads) => {
            try {
              return await writer.append(payloads)
            } catch (error) {
              const channel = disk.channel(logChannel)
              if (!(error instanceof StoreError) || writer.term >= channel.term) throw error
              const append = channel.write(nobody, payloads)
              channel.sync(append)
              return append.records.map(({ position }) => position)
            }
          },
        }
      },
      read: (logChannel, from) => wal.read(logChannel, from),
      endPosition: (logChannel) => wal.endPosition(logChannel),
      truncate: (logChannel, before) => wal.truncate(logChannel, before),
      close: () => wal.close(),
    }),
  },
  'inputs-kept': {
    invariantName: 'SEG-2',
    // A look-up or a filtered read may be the first to meet the doubled rows.
    alsoShowsAs: ['KEY-1'],
    says: 'merged segments stay on record beside what they were merged into',
    coordinator: (coordinator) => ({
      ...coordinator,
      switchSegments: (change) =>
        coordinator.switchSegments({
          ...change,
          remove: change.add.length > 0 ? [] : change.remove,
        }),
    }),
  },
  'merge-denied': {
    invariantName: 'SEG-2',
    // A look-up or a read may be the first to meet the doubled rows; one of each two is not deleted with the other.
    alsoShowsAs: ['KEY-1', 'TXN-1'],
    says: 'the owner of a log channel is told that a merge was not recorded, which was',
    settings: withUpkeep,
    coordinator: (coordinator, random) => ({
      ...coordinator,
      async switchSegments(change) {
        await coordinator.switchSegments(change)
        const isMerge = change.add.length > 0 && change.remove.length > 0
        if (isMerge && random.chance(0.2)) throw new StoreError('determinate', 'not recorded')
      },
    }),
  },
  'late-deletes-forgotten': {
    invariantName: 'VIEW-1',
    // Of a transaction that lies on several log channels a part is undone; a row of before may have the key of another.
    alsoShowsAs: ['TXN-1', 'KEY-1'],
    says: 'deletes that came while their segment was merged are taken to be in what it was merged into',
    settings: withUpkeep,
    plant() {
      const { hasOnly } = SealedDeletes.prototype
      SealedDeletes.prototype.hasOnly = () => true
      return () => {
        SealedDeletes.prototype.hasOnly = hasOnly
      }
    },
  },
  'lease-forgotten': {
    invariantName: 'VIEW-1',
    says: 'a new owner does not begin above what the one before may still answer',
    // Of a transaction that lies on several log channels the other part is seen.
    alsoShowsAs: ['TXN-1'],
    settings: withMovingOwners,
    coordinator: (coordinator) => ({
      ...coordinator,
      async logChannelOwner(logChannel) {
        const found = await coordinator.logChannelOwner(logChannel)
        return found && { ...found, servesBefore: timestampZero }
      },
      async setLogChannelOwner(logChannel, found, next) {
        const stored = await coordinator.logChannelOwner(logChannel)
        if (stored?.term !== found?.term) return false
        return await coordinator.setLogChannelOwner(logChannel, stored, next)
      },
    }),
  },
  'nearest-dropped': {
    invariantName: 'TOPK-1',
    says: 'a search loses the nearest row of a part now and then',
    streaming: (node, random) => ({
      ...node,
      async search(fragment, context) {
        const part = await node.search(fragment, context)
        if (part.rowIds.length < 2 || !random.chance(0.1)) return part
        return await node.search({ ...fragment, excludedRowIds: part.rowIds.slice(0, 1) }, context)
      },
    }),
  },
  'object-deleted': {
    invariantName: 'OBJ-1',
    says: 'an object is deleted that is still on record',
    objects: (objects, random) => {
      const names: string[] = []
      return {
        put: async (name, bytes, options) => {
          names.push(name)
          const old = names.at(-8)
          if (old !== undefined && random.chance(0.2)) await objects.delete(old)
          return await objects.put(name, bytes, options)
        },
        putFile: (name, path) => objects.putFile(name, path),
        get: (name) => objects.get(name),
        getRange: (name, offset, length) => objects.getRange(name, offset, length),
        localPath: (name) => objects.localPath(name),
        list: (prefix) => objects.list(prefix),
        delete: (name) => objects.delete(name),
        close: () => objects.close(),
      }
    },
  },
  'default-forgotten': {
    invariantName: 'CAT-1',
    says: 'a node takes an added column without what older rows hold in it',
    streaming: (node) => ({
      ...node,
      putTable: (schema) =>
        node.putTable({
          ...schema,
          columns: schema.columns.map((column) => ({ ...column, missing: null })),
        }),
    }),
  },
  'finish-denied': {
    invariantName: 'TXN-1',
    says: 'a participant is told that a committed transaction was aborted',
    // Of a transaction that only deletes or truncates there.
    alsoShowsAs: ['VIEW-1'],
    streaming: (node, random) => ({
      ...node,
      finish: (id, committedAt) => node.finish(id, random.chance(0.2) ? undefined : committedAt),
    }),
  },
  'keys-not-asserted': {
    invariantName: 'KEY-1',
    says: 'unique keys of other log channels are not looked for',
    streaming: (node) => ({
      ...node,
      commit: (request, context) => node.commit(withoutAbsentKeys(request), context),
      prepare: (id, request, context) => node.prepare(id, withoutAbsentKeys(request), context),
    }),
  },
  'references-not-asserted': {
    invariantName: 'FK-1',
    says: 'nobody looks whether the referenced row is there',
    facade: (streaming) => ({
      ...streaming,
      commit: (request, context) => streaming.commit({ ...request, references: [] }, context),
    }),
  },
  'stale-retry': {
    invariantName: 'SI-1',
    says: 'a conflict is retried with what was read before it',
    facade: (streaming) => ({
      ...streaming,
      async commit(request, context) {
        try {
          return await streaming.commit(request, context)
        } catch (error) {
          if (!(error instanceof DatabaseError) || error.sqlState !== SqlState.serializationFailure)
            throw error
          return await streaming.commit(await withNewestRows(streaming, request), context)
        }
      },
    }),
  },
  'truncated-apart': {
    invariantName: 'VIEW-1',
    says: 'a truncation does not wait for transactions whose prepare record is on its way to the log',
    // Of a transaction that lies on several log channels a part outlives it.
    alsoShowsAs: ['TXN-1'],
    settings: withEmptying,
    plant() {
      const { firstUndecided } = Channel.prototype
      Channel.prototype.firstUndecided = function (this: Channel) {
        return [...this.undecided].find(({ position }) => position < Number.POSITIVE_INFINITY)
      }
      return () => {
        Channel.prototype.firstUndecided = firstUndecided
      }
    },
  },
  'pays-twice': {
    invariantName: 'BANK-1',
    says: 'a transfer pays in more than it withdraws',
    paysTwice: true,
  },
  'outcome-withheld': {
    invariantName: 'LIVE-1',
    says: 'participants are told nothing of what became of a transaction',
    streaming: (node) => ({
      ...node,
      outcome: async () => ({ kind: 'undecided' }),
      finish: async () => {},
    }),
  },
} as const satisfies Record<string, Bug>

export type BugName = keyof typeof bugs

function withoutAbsentKeys(request: CommitRequest): CommitRequest {
  return { ...request, absentKeys: undefined }
}

/** The same inserts; deletes of whatever has their keys now. */
async function withNewestRows(
  streaming: DistributedStreaming,
  request: CommitRequest,
): Promise<CommitRequest> {
  const readAt = await streaming.strongTimestamp()
  const writes = []
  for (const write of request.writes) {
    const ids = write.inserts.flatMap(({ columns: [id] }) =>
      id?.kind === 'int64' ? [...id.values].map(Number) : [],
    )
    const rowIds: number[] = []
    const { tableId, shard } = write
    for await (const part of streaming.scan(
      { tableId, shard, readAt, output: [1] },
      backgroundContext,
    )) {
      const [found] = part.batch.columns
      if (found?.kind !== 'int64') continue
      part.rowIds.forEach((rowId, row) => {
        if (ids.includes(Number(found.values[row]))) rowIds.push(rowId)
      })
    }
    writes.push({ ...write, deletes: Float64Array.from(rowIds).sort() })
  }
  return { ...request, writes, readAt }
}
