/** Keys of the meta store with a prefix, as they are and as they change. */
import type { Runtime } from '#base/runtime.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface FollowEntriesOptions {
  readonly meta: MetaStore
  readonly runtime: Runtime
  readonly prefix: string
  /** Of every key that is there at first, and of every change; undefined: the key is gone. */
  readonly onEntry: (key: string, value: Uint8Array | undefined) => void
  /** After the first entries, and after every change. */
  readonly onSettled?: (() => void) | undefined
  readonly onError: (error: unknown) => void
}

const againMs = 500
/** A watch that died without a word. */
const lookMs = 30_000

export function followEntries(options: FollowEntriesOptions): { stop(): Promise<void> } {
  const { meta, runtime, prefix, onEntry, onSettled = () => {}, onError } = options
  const stopping = new AbortController()
  const known = new Map<string, number>()

  async function read(): Promise<void> {
    const entries = await meta.list(prefix)
    const present = new Set(entries.map(({ key }) => key))
    for (const key of [...known.keys()].filter((one) => !present.has(one))) {
      known.delete(key)
      onEntry(key, undefined)
    }
    for (const { key, value, revision } of entries) put(key, value, revision)
    onSettled()
  }

  function put(key: string, value: Uint8Array, revision: number): void {
    if ((known.get(key) ?? 0) >= revision) return
    known.set(key, revision)
    onEntry(key, value)
  }

  async function watch(signal: AbortSignal): Promise<void> {
    // Watched first: what changes while the list is read is seen.
    const changes = meta.watch(prefix, signal)
    await read()
    for await (const change of changes) {
      if ('deleted' in change) {
        if (known.delete(change.key)) onEntry(change.key, undefined)
      } else put(change.key, change.value, change.revision)
      onSettled()
    }
  }

  async function follow(): Promise<void> {
    while (!stopping.signal.aborted) {
      const ended = new AbortController()
      const signal = AbortSignal.any([stopping.signal, ended.signal])
      const again = runtime.sleep(lookMs, signal).then(
        () => ended.abort(),
        () => {},
      )
      try {
        await watch(signal)
      } catch (error) {
        if (!signal.aborted) onError(error)
        await runtime.sleep(againMs, stopping.signal).catch(() => {})
      }
      ended.abort()
      await again
    }
  }

  const following = follow()
  return {
    async stop() {
      stopping.abort()
      await following
    },
  }
}
