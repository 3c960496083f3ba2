/**
 * The meta store in memory, for tests and the simulator. The disk outlives its handles and may be shared by several simulated
 * processes, as etcd is. Leases end by the disk's own clock, if it has one, or when expireLease() is called.
 */

import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { compareBytes } from '#storage/byte-order.js'
import { FaultyPath, type MemoryStoreOptions, noFaults } from '#storage/faults.js'
import { checkMetaWrite } from '#storage/meta/check-write.js'
import type {
  MetaCondition,
  MetaEntry,
  MetaLease,
  MetaOperation,
  MetaOutcome,
  MetaStore,
} from '#storage/meta/meta.js'
import { type MetaChange, MetaWatchers } from '#storage/meta/watchers.js'

export class MemoryMetaDisk {
  readonly entries = new Map<string, MetaEntry>()
  readonly watchers = new MetaWatchers()
  /** Key → lease. */
  readonly #held = new Map<string, string>()
  readonly #leases = new Map<string, { readonly ttlMs: number; endsAtMs: number }>()
  readonly #runtime: Runtime | undefined
  #revision = 0
  #lastLease = 0

  /** @param runtime the store's own clock; none: leases do not end by themselves */
  constructor(runtime?: Runtime) {
    this.#runtime = runtime
  }

  /** Conditions first, then everything, without a turn in between. */
  apply(conditions: readonly MetaCondition[], operations: readonly MetaOperation[]): MetaOutcome {
    for (const { key, revision } of conditions) {
      if ((this.entries.get(key)?.revision ?? 0) !== revision) return { kind: 'conflict' }
    }
    for (const operation of operations) {
      if (operation.kind === 'delete' || operation.lease === undefined) continue
      if (!this.#leases.has(operation.lease)) {
        throw new StoreError('determinate', `lease ${operation.lease} has ended`)
      }
    }
    this.#revision += 1
    for (const operation of operations) {
      const { key } = operation
      this.#held.delete(key)
      if (operation.kind === 'put') {
        if (operation.lease !== undefined) this.#held.set(key, operation.lease)
        const entry = { key, value: new Uint8Array(operation.value), revision: this.#revision }
        this.entries.set(key, entry)
        this.watchers.publish(entry)
      } else if (this.entries.delete(key)) {
        this.watchers.publish({ key, deleted: true })
      }
    }
    return { kind: 'done', revision: this.#revision }
  }

  grantLease(ttlMs: number): string {
    this.#lastLease += 1
    const lease = `lease ${this.#lastLease}`
    this.#leases.set(lease, { ttlMs, endsAtMs: this.#nowMs() + ttlMs })
    if (this.#runtime !== undefined) void this.#endInTime(lease, this.#runtime)
    return lease
  }

  keepAlive(lease: string): boolean {
    const granted = this.#leases.get(lease)
    if (granted === undefined) return false
    granted.endsAtMs = this.#nowMs() + granted.ttlMs
    return true
  }

  /** Ends it and removes what was put with it. */
  expireLease(lease: string): void {
    this.#leases.delete(lease)
    const keys = [...this.#held].filter(([, holder]) => holder === lease).map(([key]) => key)
    if (keys.length === 0) return
    this.apply(
      [],
      keys.map((key) => ({ kind: 'delete', key })),
    )
  }

  /** Leases that have not ended. */
  leases(): readonly string[] {
    return [...this.#leases.keys()]
  }

  async #endInTime(lease: string, runtime: Runtime): Promise<void> {
    for (;;) {
      const leftMs = (this.#leases.get(lease)?.endsAtMs ?? 0) - runtime.monotonicMs()
      if (leftMs <= 0) break
      await runtime.sleep(leftMs)
    }
    this.expireLease(lease)
  }

  #nowMs(): number {
    return this.#runtime?.monotonicMs() ?? 0
  }
}

export class MemoryMeta implements MetaStore {
  readonly #disk: MemoryMetaDisk
  readonly #path: FaultyPath
  readonly #ended = new AbortController()

  constructor(disk: MemoryMetaDisk, options: MemoryStoreOptions) {
    this.#disk = disk
    this.#path = new FaultyPath(options.runtime, options.faults ?? noFaults)
  }

  async get(key: string): Promise<MetaEntry | undefined> {
    return await this.#path.read('meta.get', key, () => {
      const entry = this.#disk.entries.get(key)
      return entry === undefined ? undefined : { ...entry, value: new Uint8Array(entry.value) }
    })
  }

  async list(prefix: string): Promise<readonly MetaEntry[]> {
    return await this.#path.read('meta.list', prefix, () =>
      [...this.#disk.entries.values()]
        .filter(({ key }) => key.startsWith(prefix))
        .map((entry) => ({ ...entry, value: new Uint8Array(entry.value) }))
        .sort((left, right) => compareBytes(left.key, right.key)),
    )
  }

  async write(
    conditions: readonly MetaCondition[],
    operations: readonly MetaOperation[],
  ): Promise<MetaOutcome> {
    checkMetaWrite(conditions, operations)
    const target = operations[0]?.key ?? conditions[0]?.key ?? ''
    return await this.#path.write('meta.write', target, () =>
      this.#disk.apply(conditions, operations),
    )
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<MetaChange> {
    this.#path.checkOpen()
    return this.#disk.watchers.watch(prefix, AbortSignal.any([signal, this.#ended.signal]))
  }

  async grantLease(ttlMs: number): Promise<MetaLease> {
    const disk = this.#disk
    const id = await this.#path.write('meta.grantLease', '', () => disk.grantLease(ttlMs))
    return {
      id,
      keepAlive: () => this.#path.write('meta.keepAlive', id, () => disk.keepAlive(id)),
      revoke: () => this.#path.write('meta.revoke', id, () => disk.expireLease(id)),
    }
  }

  /** The process dies: nothing under way gets an answer, watches end. */
  crash(): void {
    this.#path.end('crashed')
    this.#ended.abort()
  }

  async close(): Promise<void> {
    this.#path.end('closed')
    this.#ended.abort()
  }
}
