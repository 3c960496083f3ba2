/** The first seed that finds a planted bug. */
import type { Bug } from './bugs.js'
import { type SeedResult, simulate } from './simulate.js'

export async function findBug(bug: Bug, seedCountMax: number): Promise<SeedResult | undefined> {
  for (let seed = 1; seed <= seedCountMax; seed += 1) {
    const result = await simulate(seed, bug)
    if (result.violation !== undefined) return result
  }
  return undefined
}
