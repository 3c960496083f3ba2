/**
 * The coordinator: orders what must be ordered once: timestamps, DDL, segment ids, sequence blocks, which segments a
 * table consists of. Everything it knows is in the meta store.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'

export interface Coordinator {
  /** Strictly rising, also across restarts (TS-1). Served from a leased, persisted block. */
  timestamp(): Promise<Timestamp>
  /** As timestamp(), when the current block lasts; undefined when a lease must be awaited. */
  timestampNow(): Timestamp | undefined

  /** DDL entries (opaque, in order); index = catalog version after it. */
  ddlLog(): Promise<readonly Uint8Array[]>
  /** Appends if the log still has `expectedVersion` entries. @returns false on conflict */
  appendDdl(expectedVersion: number, entries: readonly Uint8Array[]): Promise<boolean>

  /** Ids unique for ever. */
  allocateSegmentIds(count: number): Promise<readonly number[]>
  /** A block of `count` numbers of the counter (sequence values, row ids): first number. Persisted before use. */
  leaseCounter(name: string, count: number, floor: number): Promise<number>

  /** Manifests of all flushed segments of all tables, with the channels' checkpoints. */
  segments(): Promise<readonly SegmentManifest[]>
  checkpoints(): Promise<ReadonlyMap<string, number>>
  /** In one step: segments that appear, segments that go, and channel checkpoints (log positions) that move. */
  switchSegments(change: {
    readonly add: readonly SegmentManifest[]
    readonly remove: readonly number[]
    readonly checkpoints: ReadonlyMap<string, number>
  }): Promise<void>

  /** Durable small facts (password verifiers, table options, sequence states), by key. */
  getSetting(key: string): Promise<Uint8Array | undefined>
  putSetting(key: string, value: Uint8Array | undefined): Promise<void>
  listSettings(
    prefix: string,
  ): Promise<readonly { readonly key: string; readonly value: Uint8Array }[]>
  stop(): Promise<void>
}
