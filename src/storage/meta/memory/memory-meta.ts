/**
 * The meta store in memory, for tests and the simulator. The disk outlives its handles and may be shared by several simulated
 * processes, as etcd is. A lease lives until expireLease() is called on the disk.
 */

import { compareBytes } from '#storage/byte-order.js'
import { FaultyPath, type MemoryStoreOptions, noFaults } from '#storage/faults.js'
import { checkMetaWrite } from '#storage/meta/check-write.js'
import type {
  MetaCondition,
  MetaEntry,
  MetaOperation,
  MetaOutcome,
  MetaStore,
} from '#storage/meta/meta.js'
import { type MetaChange, MetaWatchers } from '#storage/meta/watchers.js'

export class MemoryMetaDisk {
  readonly entries = new Map<string, MetaEntry>()
  readonly watchers = new MetaWatchers()
  readonly #leases = new Map<string, string>()
  #revision = 0

  /** Conditions first, then everything, without a turn in between. */
  apply(conditions: readonly MetaCondition[], operations: readonly MetaOperation[]): MetaOutcome {
    for (const { key, revision } of conditions) {
      if ((this.entries.get(key)?.revision ?? 0) !== revision) return { kind: 'conflict' }
    }
    this.#revision += 1
    for (const operation of operations) {
      const { key } = operation
      this.#leases.delete(key)
      if (operation.kind === 'put') {
        if (operation.lease !== undefined) this.#leases.set(key, operation.lease)
        const entry = { key, value: new Uint8Array(operation.value), revision: this.#revision }
        this.entries.set(key, entry)
        this.watchers.publish(entry)
      } else if (this.entries.delete(key)) {
        this.watchers.publish({ key, deleted: true })
      }
    }
    return { kind: 'done', revision: this.#revision }
  }

  /** Removes what was put with the lease. */
  expireLease(lease: string): void {
    const keys = [...this.#leases].filter(([, holder]) => holder === lease).map(([key]) => key)
    if (keys.length === 0) return
    this.apply(
      [],
      keys.map((key) => ({ kind: 'delete', key })),
    )
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
