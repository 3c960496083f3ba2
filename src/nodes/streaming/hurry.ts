import type { Runtime } from '#base/runtime.js'

/** A sleep that others can end early. */
export class Hurry {
  #wake: AbortController | undefined
  #wanted = false

  now(): void {
    this.#wanted = true
    this.#wake?.abort()
  }

  /** @throws the signal's reason */
  async sleep(runtime: Runtime, ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.#wanted) {
      const wake = new AbortController()
      this.#wake = wake
      const end = () => wake.abort()
      signal.addEventListener('abort', end, { once: true })
      await runtime.sleep(ms, wake.signal).catch(() => {})
      signal.removeEventListener('abort', end)
      this.#wake = undefined
    }
    this.#wanted = false
    signal.throwIfAborted()
  }
}
