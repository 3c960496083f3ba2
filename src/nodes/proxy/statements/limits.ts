import { DatabaseError } from '#base/errors.js'
import type { LimitPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'

/** Row count of LIMIT and OFFSET; Infinity: no limit. @throws 2201W, 2201X when negative */
export function limitsOf(
  plan: LimitPlan,
  values: SlotValues,
): { readonly limit: number; readonly offset: number } {
  const limit = plan.limit === undefined ? null : int8(values[plan.limit] ?? null)
  const offset = plan.offset === undefined ? null : int8(values[plan.offset] ?? null)
  if (offset !== null && offset < 0) throw new DatabaseError('2201X', 'OFFSET must not be negative')
  if (limit !== null && limit < 0) throw new DatabaseError('2201W', 'LIMIT must not be negative')
  return { limit: limit ?? Number.POSITIVE_INFINITY, offset: offset ?? 0 }
}

function int8(datum: Uint8Array | null): number | null {
  if (datum === null) return null
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  if (datum.byteLength === 8) return Number(view.getBigInt64(0))
  return datum.byteLength === 4 ? view.getInt32(0) : view.getInt16(0)
}
