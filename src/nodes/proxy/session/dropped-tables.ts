/**
 * Tables that a transaction drops go from the streaming nodes, with all rows, although whoever dropped them dies right after the
 * commit, or a node does not answer then.
 *
 * 1. Before the DDL may be in any log a note in the meta store says which tables are to go, and from which version of the catalog.
 * 2. The commit. 3. The nodes forget the tables; the note goes.
 *
 * Failure of 3: tried again in the background; by every proxy that starts. A note is believed when a catalog above its version has
 * not got the table: then it was there once, and is dropped. Ids of tables never come twice, so that is true for ever. Otherwise the
 * transaction has failed, or its end is not known here yet.
 */
import type { Runtime } from '#base/runtime.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import type { CatalogSnapshot } from '#postgres/contract.js'

export const droppedTablesPrefix = 'dropped-tables/'
const idBytes = 12
const pauseMsFirst = 250
const pauseMsMax = 30_000

export interface DroppedTablesOptions {
  readonly streaming: Pick<DistributedStreaming, 'dropTable'>
  readonly coordinator: Pick<Coordinator, 'putSetting' | 'listSettings'>
  readonly runtime: Runtime
}

export interface DroppedTablesNote {
  /** Of the catalog that had them. */
  readonly version: number
  readonly tableIds: readonly number[]
}

/** What a transaction has noted. */
export interface Drops {
  readonly key: string
  readonly tableIds: readonly number[]
}

export class DroppedTables {
  readonly #options: DroppedTablesOptions
  readonly #stopping = new AbortController()
  readonly #underWay = new Set<Promise<void>>()

  constructor(options: DroppedTablesOptions) {
    this.#options = options
  }

  /** Durable when it resolves. @returns undefined when there are none. @throws StoreError: nothing may be dropped */
  async note(version: number, tableIds: readonly number[]): Promise<Drops | undefined> {
    if (tableIds.length === 0) return undefined
    const { coordinator, runtime } = this.#options
    const key = `${droppedTablesPrefix}${Buffer.from(runtime.randomBytes(idBytes)).toString('hex')}`
    await coordinator.putSetting(key, encodeNote({ version, tableIds }))
    return { key, tableIds }
  }

  /** The transaction has certainly failed. What cannot be taken back now is found to be untrue later. */
  async withdraw(drops: Drops | undefined): Promise<void> {
    if (drops === undefined) return
    await this.#options.coordinator.putSetting(drops.key, undefined).catch(() => {})
  }

  /** The transaction has committed. Resolves when the nodes have forgotten the tables, or the background does it. */
  async forget(drops: Drops | undefined): Promise<void> {
    if (drops === undefined) return
    try {
      await this.#forgetNow(drops)
    } catch {
      this.#forgetLater(drops, pauseMsFirst)
    }
  }

  /** What others have left. @param catalog newest there is. @throws StoreError */
  async recover(catalog: Pick<CatalogSnapshot, 'version' | 'tables'>): Promise<void> {
    const { coordinator } = this.#options
    for (const { key, value } of await coordinator.listSettings(droppedTablesPrefix)) {
      const { version, tableIds } = decodeNote(value)
      if (catalog.version < version) continue
      const gone = tableIds.filter((tableId) => !catalog.tables.has(tableId))
      if (gone.length === 0) await coordinator.putSetting(key, undefined)
      else if (catalog.version > version) this.#forgetLater({ key, tableIds: gone }, 0)
    }
  }

  /** What is not done by then is done by whoever starts next. */
  async close(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#underWay)
  }

  async #forgetNow({ key, tableIds }: Drops): Promise<void> {
    const { streaming, coordinator } = this.#options
    for (const tableId of tableIds) await streaming.dropTable(tableId)
    await coordinator.putSetting(key, undefined)
  }

  #forgetLater(drops: Drops, pauseMs: number): void {
    const trying = this.#insist(drops, pauseMs).finally(() => this.#underWay.delete(trying))
    this.#underWay.add(trying)
  }

  async #insist(drops: Drops, firstPauseMs: number): Promise<void> {
    const { signal } = this.#stopping
    const { runtime } = this.#options
    for (let pauseMs = firstPauseMs; !signal.aborted; ) {
      if (pauseMs > 0) await runtime.sleep(pauseMs, signal).catch(() => {})
      if (signal.aborted) return
      try {
        await this.#forgetNow(drops)
        return
      } catch {
        pauseMs = Math.min(pauseMsMax, Math.max(pauseMsFirst, 2 * pauseMs))
      }
    }
  }
}

function encodeNote(note: DroppedTablesNote): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(note))
}

export function decodeNote(value: Uint8Array): DroppedTablesNote {
  return JSON.parse(new TextDecoder().decode(value)) as DroppedTablesNote
}
