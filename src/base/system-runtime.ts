import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { Runtime } from '#base/runtime.js'

/** The real world. The only place that asks the machine for time and randomness. */
export const systemRuntime: Runtime = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise<void>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const onAbort = () => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }, ms)
      signal?.addEventListener('abort', onAbort, { once: true })
    }),
  random: () => Math.random(),
  randomBytes: (count) => new Uint8Array(randomBytes(count)),
}
