/**
 * Plans by statement text, parameter types, settings and catalog version. From the second execution on nothing asks
 * PostgreSQL about the statement any more.
 */
import type { PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import type { Description } from '#postgres/contract.js'

const entryCountMax = 2_000

export class PlanCache {
  readonly #plans = new Map<string, PreparedPlan>()
  readonly #descriptions = new Map<string, Description>()

  plan(key: string): PreparedPlan | undefined {
    return this.#plans.get(key)
  }

  putPlan(key: string, plan: PreparedPlan): void {
    put(this.#plans, key, plan)
  }

  description(key: string): Description | undefined {
    return this.#descriptions.get(key)
  }

  putDescription(key: string, description: Description): void {
    put(this.#descriptions, key, description)
  }

  /** The catalog has changed: nothing old will be asked for again. */
  clear(): void {
    this.#plans.clear()
    this.#descriptions.clear()
  }
}

// Oldest first out: a statement used all the time is made again now and then, which costs less than bookkeeping.
function put<T>(map: Map<string, T>, key: string, value: T): void {
  if (map.size >= entryCountMax) {
    for (const oldest of map.keys()) {
      map.delete(oldest)
      break
    }
  }
  map.set(key, value)
}

export function planKey(sql: string, parameterTypes: readonly number[], settingsKey: string, version: number): string {
  return `${version}\u0001${parameterTypes.join(',')}\u0001${settingsKey}\u0001${sql}`
}
