/**
 * Timestamps order everything: 41 bits of milliseconds since 2020-01-01 UTC and 12 bits of counter,
 * so that a timestamp is an exact JavaScript number and fits a Float64Array (53 bits).
 */
declare const timestampBrand: unique symbol
export type Timestamp = number & { readonly [timestampBrand]: true }

export const timestampEpochMs = Date.UTC(2020, 0, 1)
const countersPerMs = 4096

export const timestampZero = 0 as Timestamp
/** Later than everything: "not deleted". */
export const timestampMax = Number.POSITIVE_INFINITY as Timestamp

/** @param unixMs milliseconds since 1970. @param counter 0..4095 */
export function timestampFrom(unixMs: number, counter: number): Timestamp {
  return ((unixMs - timestampEpochMs) * countersPerMs + counter) as Timestamp
}

/** Milliseconds since 1970 of the timestamp's physical part. */
export function timestampToUnixMs(timestamp: Timestamp): number {
  return Math.floor(timestamp / countersPerMs) + timestampEpochMs
}
