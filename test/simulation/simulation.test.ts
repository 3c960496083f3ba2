import { expect, test } from 'vitest'
import { simulate } from './simulate.js'

const seedCount = 40

test('a seed replays exactly: same events, same hash', async () => {
  for (const seed of [3, 14, 15]) {
    const first = await simulate(seed)
    const again = await simulate(seed)
    expect(again.hash).toBe(first.hash)
    expect(again.eventCount).toBe(first.eventCount)
    expect(again.tail).toEqual(first.tail)
  }
})

test('seeds without a planted bug show no violation', async () => {
  for (let seed = 1; seed <= seedCount; seed += 1) {
    const { violation, tail } = await simulate(seed)
    const story =
      violation === undefined ? [] : [...tail.slice(-60), `seed ${seed}: ${violation.message}`]
    expect(story).toEqual([])
  }
})
