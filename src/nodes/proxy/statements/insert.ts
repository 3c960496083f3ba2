import type { Execution } from '#nodes/proxy/statements/execution.js'
import { modify } from '#nodes/proxy/statements/modify.js'
import type { Result } from '#nodes/proxy/statements/result.js'

/** INSERT: natively when every value is plain, else as any other statement that changes rows. */
export async function insert(execution: Execution): Promise<Result> {
  return modify(execution)
}
