/**
 * The meta store in one LMDB file (package `lmdb`).
 *
 * Durable on resolve: opened with overlappingSync off, so that a commit ends with fdatasync and a synchronous write of the
 * meta page, and the promise of an asynchronous transaction resolves after it (lmdb-js README, "overlappingSync").
 * Writes of the same turn, and those that come while a commit is under way, share one commit.
 * Database `entries`: key = UTF-8; value = revision, whether a lease holds it, checksum, value (stored-entry.ts).
 * Database `state`: `revision` = the last revision (f64): one number for the whole store, as in etcd.
 * Leases: there is one process, so a lease lives as long as it does, or until it is revoked: entries with one are removed at
 * the next open.
 */
import { type Database, open, type RootDatabase } from 'lmdb'
import { Gate } from '#base/async/gate.js'
import { invariant, StoreError } from '#base/errors.js'
import { prefixEnd } from '#storage/byte-order.js'
import { makeDirectory, syncDirectory } from '#storage/durable-files.js'
import { ioError } from '#storage/io-error.js'
import { checkMetaWrite } from '#storage/meta/check-write.js'
import {
  decodeStoredEntry,
  encodeStoredEntry,
  isLeasedEntry,
} from '#storage/meta/embedded/stored-entry.js'
import type {
  MetaCondition,
  MetaEntry,
  MetaLease,
  MetaOperation,
  MetaOutcome,
  MetaStore,
} from '#storage/meta/meta.js'
import { type MetaChange, MetaWatchers } from '#storage/meta/watchers.js'

const revisionKey = Buffer.from('revision', 'latin1')
type BytesDatabase = Database<Buffer, Uint8Array>

/** One process at a time: the caller holds the data directory's lock. @throws StoreError */
export async function openEmbeddedMeta(directory: string): Promise<MetaStore> {
  await makeDirectory(directory)
  try {
    const root = open<Buffer, Uint8Array>({
      path: directory,
      keyEncoding: 'binary',
      encoding: 'binary',
      overlappingSync: false,
      cache: false,
    })
    const options = { keyEncoding: 'binary', encoding: 'binary', cache: false } as const
    const entries = root.openDB<Buffer, Uint8Array>('entries', options)
    const state = root.openDB<Buffer, Uint8Array>('state', options)
    // LMDB syncs what is in its file, not the file's name.
    await syncDirectory(directory)
    const store = new EmbeddedMeta(root, entries, state)
    await store.removeLeased()
    return store
  } catch (error) {
    throw ioError('determinate', `could not open meta store "${directory}"`, error)
  }
}

class EmbeddedMeta implements MetaStore {
  readonly #root: RootDatabase<Buffer, Uint8Array>
  readonly #entries: BytesDatabase
  readonly #state: BytesDatabase
  readonly #watchers = new MetaWatchers()
  readonly #gate = new Gate()
  /** Committed or failed writes wait here for those with smaller revisions, so that watchers see revisions rise. */
  readonly #unpublished: { changes: readonly MetaChange[]; ended: boolean }[] = []
  /** Leases that were granted and not revoked, and the keys put with them. */
  readonly #leases = new Map<string, Set<string>>()
  #lastLease = 0
  #revision: number
  #closed = false

  constructor(
    root: RootDatabase<Buffer, Uint8Array>,
    entries: BytesDatabase,
    state: BytesDatabase,
  ) {
    this.#root = root
    this.#entries = entries
    this.#state = state
    this.#revision = state.get(revisionKey)?.readDoubleLE(0) ?? 0
  }

  async get(key: string): Promise<MetaEntry | undefined> {
    this.#checkOpen()
    const bytes = keyBytes(key)
    const stored = this.#entries.get(bytes)
    return stored === undefined ? undefined : decodeEntry(bytes, stored)
  }

  async list(prefix: string): Promise<readonly MetaEntry[]> {
    this.#checkOpen()
    const found: MetaEntry[] = []
    for (const { key, value } of this.#entries.getRange(prefixRange(prefix))) {
      found.push(decodeEntry(key, value))
    }
    return found
  }

  async write(
    conditions: readonly MetaCondition[],
    operations: readonly MetaOperation[],
  ): Promise<MetaOutcome> {
    checkMetaWrite(conditions, operations)
    if (!this.#gate.enter()) throw new StoreError('determinate', 'the meta store is closed')
    const entry = { changes: [] as MetaChange[], ended: false }
    try {
      const outcome = await this.#root.transaction(() => {
        this.#unpublished.push(entry)
        return this.#apply(conditions, operations, entry.changes)
      })
      this.#publish(entry)
      return outcome
    } catch (error) {
      entry.changes = []
      this.#publish(entry)
      if (error instanceof StoreError) throw error
      throw ioError('indeterminate', 'could not write to the meta store', error)
    } finally {
      this.#gate.leave()
    }
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<MetaChange> {
    this.#checkOpen()
    return this.#watchers.watch(prefix, signal)
  }

  async grantLease(): Promise<MetaLease> {
    this.#checkOpen()
    this.#lastLease += 1
    const id = String(this.#lastLease)
    this.#leases.set(id, new Set())
    return {
      id,
      keepAlive: async () => this.#leases.has(id),
      revoke: async () => {
        const keys = [...(this.#leases.get(id) ?? [])]
        this.#leases.delete(id)
        if (keys.length === 0) return
        await this.write(
          [],
          keys.map((key) => ({ kind: 'delete', key })),
        )
      },
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#gate.close()
    this.#watchers.close()
    await this.#root.close()
  }

  async removeLeased(): Promise<void> {
    const leased: string[] = []
    for (const { key, value } of this.#entries.getRange({})) {
      if (isLeasedEntry(value)) leased.push(Buffer.from(key).toString('utf8'))
    }
    if (leased.length === 0) return
    await this.write(
      [],
      leased.map((key) => ({ kind: 'delete', key })),
    )
  }

  /** Inside the write transaction, where puts happen at once and their promises mean nothing. All conditions are checked before anything is changed, so nothing need be undone. */
  #apply(
    conditions: readonly MetaCondition[],
    operations: readonly MetaOperation[],
    changes: MetaChange[],
  ): MetaOutcome {
    for (const { key, revision } of conditions) {
      if (this.#revisionOf(key) !== revision) return { kind: 'conflict' }
    }
    for (const operation of operations) {
      if (operation.kind === 'delete' || operation.lease === undefined) continue
      if (!this.#leases.has(operation.lease)) {
        throw new StoreError('determinate', `lease ${operation.lease} has ended`)
      }
    }
    const revision = this.#revision + 1
    invariant('META-1', Number.isSafeInteger(revision), 'revisions rise')
    for (const operation of operations) {
      const key = keyBytes(operation.key)
      for (const keys of this.#leases.values()) keys.delete(operation.key)
      if (operation.kind === 'put') {
        const { value, lease } = operation
        if (lease !== undefined) this.#leases.get(lease)?.add(operation.key)
        void this.#entries.put(key, encodeStoredEntry(key, revision, lease !== undefined, value))
        changes.push({ key: operation.key, value: new Uint8Array(value), revision })
      } else if (this.#entries.doesExist(key)) {
        void this.#entries.remove(key)
        changes.push({ key: operation.key, deleted: true })
      }
    }
    void this.#state.put(revisionKey, encodeRevision(revision))
    this.#revision = revision
    return { kind: 'done', revision }
  }

  #revisionOf(key: string): number {
    return this.#entries.get(keyBytes(key))?.readDoubleLE(0) ?? 0
  }

  #publish(entry: { ended: boolean }): void {
    entry.ended = true
    while (this.#unpublished[0]?.ended === true) {
      for (const change of this.#unpublished.shift()?.changes ?? []) this.#watchers.publish(change)
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError('determinate', 'the meta store is closed')
  }
}

function keyBytes(key: string): Buffer {
  return Buffer.from(key, 'utf8')
}

function prefixRange(prefix: string): { start?: Uint8Array; end?: Uint8Array } {
  if (prefix === '') return {}
  const start = keyBytes(prefix)
  const end = prefixEnd(start)
  return end === undefined ? { start } : { start, end: Buffer.from(end) }
}

function encodeRevision(revision: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(revision, 0)
  return bytes
}

/** @throws XX001 */
function decodeEntry(key: Uint8Array, stored: Uint8Array): MetaEntry {
  const { revision, value } = decodeStoredEntry(
    key,
    Buffer.from(stored.buffer, stored.byteOffset, stored.length),
  )
  return { key: Buffer.from(key).toString('utf8'), value: new Uint8Array(value), revision }
}
