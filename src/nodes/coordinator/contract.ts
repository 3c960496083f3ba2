/**
 * The coordinator: orders what must be ordered once: timestamps, DDL, segment ids, sequence blocks, which segments a
 * table consists of. Everything it knows is in the meta store.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'

/**
 * Settings that begin so hold a timestamp each: until then objects that nobody needs stay, because someone copies what is there
 * (backup), or has put what is not on record yet (restore).
 */
export const objectHoldPrefix = 'object-hold/'

export interface Coordinator {
  /**
   * Strictly rising, also across restarts and changes of leader (TS-1): later than all that anyone was given before this was
   * called. Served from a leased, persisted block. Later than `above`, too: the oracle jumps a few seconds ahead of the
   * clock if it must, and beyond that waits.
   */
  timestamp(above?: Timestamp): Promise<Timestamp>
  /**
   * As timestamp(), when the current block lasts; undefined when something must be awaited: always, unless nobody else can be
   * coordinator.
   */
  timestampNow(): Timestamp | undefined

  /** DDL entries (opaque, in order); index = catalog version after it. */
  ddlLog(): Promise<readonly Uint8Array[]>
  /**
   * Appends if the log still has `expectedVersion` entries. @returns false on conflict
   * @param appendId unique: an append that is repeated with it finds that it has been done and returns true
   */
  appendDdl(
    expectedVersion: number,
    entries: readonly Uint8Array[],
    appendId?: string,
  ): Promise<boolean>

  /** Ids unique for ever. */
  allocateSegmentIds(count: number): Promise<readonly number[]>
  /**
   * A block of `count` numbers of the counter (sequence values, row ids): first number. Persisted before use.
   * @param count 0: which number the next block begins with, nothing is taken
   */
  leaseCounter(name: string, count: number, floor: number): Promise<number>

  /** Manifests of all flushed segments of all tables, with the channels' checkpoints. */
  segments(): Promise<readonly SegmentManifest[]>
  checkpoints(): Promise<ReadonlyMap<string, number>>
  /** In one step: segments that appear, segments that go, and channel checkpoints (log positions) that move. */
  switchSegments(change: SegmentChange): Promise<void>

  /** Durable small facts (password verifiers, table options, sequence states), by key. */
  getSetting(key: string): Promise<Uint8Array | undefined>
  /** @param by see OwnerStep */
  putSetting(key: string, value: Uint8Array | undefined, by?: OwnerStep): Promise<void>
  /**
   * Puts the value if the setting still is `found`. False: it is not, or it was and an answer got lost on the way: read it again.
   */
  exchangeSetting(key: string, found: Uint8Array | undefined, value: Uint8Array): Promise<boolean>
  listSettings(
    prefix: string,
  ): Promise<readonly { readonly key: string; readonly value: Uint8Array }[]>

  /** Who owns the log channel, as far as anyone took it. */
  logChannelOwner(logChannel: string): Promise<LogChannelOwner | undefined>
  /** Replaces `found`, if that is still what stands. @returns false when it is not */
  setLogChannelOwner(
    logChannel: string,
    found: LogChannelOwner | undefined,
    next: LogChannelOwner,
  ): Promise<boolean>
  /**
   * Resolves when all that was written before could be found again without the meta store: elanus recover-meta. Before anything
   * is given up that would be needed then.
   */
  secure(): Promise<void>
  /** Nodes that have registered and are alive: elanus.nodes. */
  nodes(): Promise<readonly ClusterNode[]>
  stop(): Promise<void>
}

export interface ClusterNode {
  readonly kind: 'proxy' | 'coordinator' | 'streaming' | 'query' | 'data'
  readonly id: string
  /** host:port of its contract. */
  readonly address: string
  /** In proportion to others of its kind: bytes of memory, cores. */
  readonly capacity: number
  readonly isDraining: boolean
  /** Differs each time it registers: a restarted node has forgotten what it held. */
  readonly life: string
  /** The coordinator that leads; said by nodes() only. */
  readonly isLeading?: boolean | undefined
}

export interface SegmentChange {
  readonly add: readonly SegmentManifest[]
  readonly remove: readonly number[]
  /** Below 0: the checkpoint goes. */
  readonly checkpoints: ReadonlyMap<string, number>
  /**
   * Objects that shall be removed: no manifest that names one of them is recorded from here on, whoever brings it.
   * @throws 55000, with nothing changed, when a manifest names one; and for a segment in `add` that names a condemned one
   */
  readonly condemn?: readonly string[] | undefined
  readonly by?: OwnerStep | undefined
}

/** A lease in the oracle's time: docs/adr/2026-11-21-transactions-over-log-channels.md. */
export interface LogChannelOwner {
  /** Of the owner's writer of the log. */
  readonly term: number
  /** It answers reads at timestamps below; its successor commits above. */
  readonly servesBefore: Timestamp
}

/**
 * Says that a change comes from the owner of a log channel: refused with 57P03 when another owner of a higher term has taken
 * it, passed over when the same or a later step of the same owner was done before. So a deposed owner changes nothing, and
 * a step that is repeated, or arrives late, is done once or not at all.
 */
export interface OwnerStep {
  readonly logChannel: string
  readonly term: number
  /** From 1, rising by call. */
  readonly step: number
}
