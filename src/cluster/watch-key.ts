/** Tells that keys with a prefix have changed, sooner or later: by watching, and by looking now and then. */
import type { Runtime } from '#base/runtime.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface WatchKeyOptions {
  readonly meta: MetaStore
  readonly runtime: Runtime
  readonly prefix: string
  /** Between looks, when the watch tells nothing. */
  readonly lookMs: number
  /** One at a time; what it throws is told, and it is called again. */
  readonly look: () => Promise<void>
  readonly onError: (error: unknown) => void
}

export function startWatchingKey(options: WatchKeyOptions): { stop(): Promise<void> } {
  const { meta, runtime, prefix, lookMs, look, onError } = options
  const stopping = new AbortController()
  const { signal } = stopping
  let isChanged = true
  let wake = () => {}

  async function watch(): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const _ of meta.watch(prefix, signal)) {
          isChanged = true
          wake()
        }
      } catch (error) {
        if (!signal.aborted) onError(error)
      }
      await runtime.sleep(lookMs, signal).catch(() => {})
    }
  }

  async function follow(): Promise<void> {
    while (!signal.aborted) {
      // Ends with the change: timers of many changes in a short time would all stay until their time.
      const waiting = new AbortController()
      wake = () => waiting.abort()
      if (!isChanged) await runtime.sleep(lookMs, waiting.signal).catch(() => {})
      if (signal.aborted) return
      isChanged = false
      await look().catch(onError)
    }
  }

  const running = Promise.all([watch(), follow()])
  return {
    async stop() {
      stopping.abort()
      wake()
      await running
    },
  }
}
