/** Counters that never give a number twice: the next number is durable before the block is used. */
import type { FencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { decodeNumber, encodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface Counters {
  /** First of `count` numbers, none of them below `floor`. */
  lease(name: string, count: number, floor: number): Promise<number>
}

export function createCounters(meta: MetaStore, fenced: FencedMeta): Counters {
  return {
    lease: (name, count, floor) =>
      fenced.exclusively(async () => {
        const key = metaKeys.counter(name)
        const entry = await meta.get(key)
        const first = Math.max(entry === undefined ? floor : decodeNumber(entry.value), floor)
        if (count > 0)
          await fenced.write([{ kind: 'put', key, value: encodeNumber(first + count) }])
        return first
      }),
  }
}
