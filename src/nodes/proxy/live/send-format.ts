/** Values of live tables as PostgreSQL sends them in binary. */
import type { Datum } from '#engine/columnar/column.js'
import { int32Datum, int64Datum } from '#engine/columnar/read-datum.js'

const encoder = new TextEncoder()

export function text(value: string): Datum {
  return encoder.encode(value)
}

export function int4(value: number): Datum {
  return int32Datum(value)
}

export function int8(value: number): Datum {
  return int64Datum(BigInt(Math.trunc(value)))
}

/** Unix milliseconds → timestamptz: microseconds since 2000-01-01. */
export function timestamptz(unixMs: number): Datum {
  return int64Datum((BigInt(Math.trunc(unixMs)) - 946_684_800_000n) * 1000n)
}

/** NULL for 0, which stands for never. */
export function timestamptzOrNever(unixMs: number): Datum {
  return unixMs === 0 ? null : timestamptz(unixMs)
}
