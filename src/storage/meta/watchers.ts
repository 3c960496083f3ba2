import { AsyncQueue } from '#base/async/async-queue.js'
import type { MetaEntry } from '#storage/meta/meta.js'

export type MetaChange = MetaEntry | { readonly key: string; readonly deleted: true }

/** Those who watch a store of this process. Changes are published in the order of their revisions. */
export class MetaWatchers {
  readonly #watchers = new Set<{
    readonly prefix: string
    readonly queue: AsyncQueue<MetaChange>
  }>()

  /** From the call on, not from the first read: nothing in between is missed. */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<MetaChange> {
    const queue = new AsyncQueue<MetaChange>()
    const watcher = { prefix, queue }
    const end = () => {
      this.#watchers.delete(watcher)
      queue.close()
    }
    if (signal.aborted) {
      queue.close()
      return queue.drain()
    }
    this.#watchers.add(watcher)
    signal.addEventListener('abort', end, { once: true })
    return this.#drain(queue, () => {
      signal.removeEventListener('abort', end)
      end()
    })
  }

  publish(change: MetaChange): void {
    for (const { prefix, queue } of this.#watchers) {
      if (change.key.startsWith(prefix)) queue.push(change)
    }
  }

  /** Ends every watch. */
  close(): void {
    for (const { queue } of this.#watchers) queue.close()
    this.#watchers.clear()
  }

  async *#drain(queue: AsyncQueue<MetaChange>, end: () => void): AsyncIterable<MetaChange> {
    try {
      yield* queue.drain()
    } finally {
      end()
    }
  }
}
