/**
 * What transactions over lists do: appends of elements that never come twice for a key, and reads. A reader sees the order of all
 * appends before it, from which a checker finds the order of the transactions. Keys are few, so that transactions meet,
 * and are given up for new ones when their lists have grown.
 */
import type { Random } from '../differential/random.js'
import type { ListStep } from './recorder.js'

const keysInUse = 6
const elementsPerKey = 60

export class Lists {
  readonly #next = { snapshot: newKeys(), committed: newKeys() }

  plan(random: Random, level: 'snapshot' | 'committed'): ListStep[] {
    const keys = this.#next[level]
    return Array.from({ length: random.integer(2, 5) }, (): ListStep => {
      const place = random.integer(0, keys.length - 1)
      const key = keys[place] ?? { key: 0, element: 0 }
      if (random.chance(0.5)) return ['r', key.key, null]
      key.element += 1
      if (key.element >= elementsPerKey)
        keys[place] = { key: Math.max(...keys.map((other) => other.key)) + 1, element: 0 }
      return ['append', key.key, key.element]
    })
  }
}

function newKeys(): { key: number; element: number }[] {
  return Array.from({ length: keysInUse }, (_, i) => ({ key: i + 1, element: 0 }))
}
