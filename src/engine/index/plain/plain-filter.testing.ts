import type { FilterRequest, FilterResult } from '#engine/index/native.js'
import { type PlainPart, passingRows, readRequest } from './plain-request.testing.js'

export function filterPlain(parts: readonly PlainPart[], request: FilterRequest): FilterResult {
  const read = readRequest(parts, request)
  const passing = parts.map((part) => passingRows(part, read))
  return {
    bitsets: passing.map((rows, i) => bitsOf(rows, parts[i]?.rowCount ?? 0)),
    counts: Uint32Array.from(passing, (rows) => rows.length),
  }
}

function bitsOf(rows: readonly number[], rowCount: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(rowCount / 8))
  for (const row of rows) bits[row >> 3] = (bits[row >> 3] ?? 0) | (1 << (row & 7))
  return bits
}
