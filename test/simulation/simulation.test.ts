import { describe, expect, test } from 'vitest'
import { type Bug, bugs } from './bugs.js'
import { findBug } from './find-bug.js'
import { simulate } from './simulate.js'

const seedCount = 40
/** Each is found much sooner now; a change of the workload moves that about. */
const seedsToFind = 150

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

describe('a planted bug is found by name', () => {
  test.each(Object.entries<Bug>(bugs))('%s', async (_, bug) => {
    const found = await findBug(bug, seedsToFind)
    const names = [bug.invariantName, ...(bug.alsoShowsAs ?? [])]
    expect(names).toContain(found?.violation?.message.split(':')[0])
  })
})
