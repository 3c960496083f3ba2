/**
 * Plans by statement text, parameter types, settings and catalog version. From the second execution on nothing asks
 * PostgreSQL about the statement any more.
 */
import type { PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { Description } from '#postgres/contract.js'

const entryCountMax = 2_000

/** The last plan of a parsed statement: found without making a key of its text. */
interface Recent {
  readonly version: number
  readonly settingsKey: string
  readonly parameterTypes: readonly number[]
  readonly native: boolean
  readonly plan: PreparedPlan
}

export class PlanCache {
  readonly #recent = new WeakMap<ParsedStatement, Recent>()

  /** Texts that are in the parser's cache have one ParsedStatement: most executions end here. */
  recent(
    parsed: ParsedStatement,
    version: number,
    settingsKey: string,
    parameterTypes: readonly number[],
    native: boolean,
  ): PreparedPlan | undefined {
    const recent = this.#recent.get(parsed)
    if (recent === undefined || recent.version !== version || recent.native !== native)
      return undefined
    if (recent.settingsKey !== settingsKey || !sameTypes(recent.parameterTypes, parameterTypes))
      return undefined
    return recent.plan
  }

  putRecent(parsed: ParsedStatement, recent: Recent): void {
    this.#recent.set(parsed, recent)
  }

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

function sameTypes(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false
  return true
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

export function planKey(
  sql: string,
  parameterTypes: readonly number[],
  settingsKey: string,
  version: number,
): string {
  return `${version}\u0001${parameterTypes.join(',')}\u0001${settingsKey}\u0001${sql}`
}
