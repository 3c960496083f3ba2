/** Rows whose whole content follows from id and version, so that a row read back can be judged by itself. */

export const dimensions = 8

/** mulberry32 of two numbers, as a function: no state. */
function mix(id: number, version: number, position: number): number {
  let state =
    (Math.imul(id, 0x9e3779b1) ^
      Math.imul(version + 1, 0x85ebca6b) ^
      Math.imul(position + 1, 0xc2b2ae35)) >>>
    0
  state = Math.imul(state ^ (state >>> 15), state | 1)
  state ^= state + Math.imul(state ^ (state >>> 7), state | 61)
  return (state ^ (state >>> 14)) >>> 0
}

/** Multiples of 1/16: exact as float4, so that text and arithmetic agree everywhere. */
export function vectorOf(id: number, version: number): readonly number[] {
  return Array.from({ length: dimensions }, (_, i) => (mix(id, version, i) % 2001) / 16 - 62.5)
}

export function vectorText(id: number, version: number): string {
  return `[${vectorOf(id, version).join(',')}]`
}

/** Up to some kilobytes, so that segments fill. */
export function noteOf(id: number, version: number): string {
  return `${id}:${version}:${'x'.repeat(mix(id, version, 99) % 1500)}ä`
}
