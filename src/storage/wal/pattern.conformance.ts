/** A payload that tells who it is wherever its bytes turn up. */
export function patterned(length: number, seed: number): Uint8Array {
  const payload = new Uint8Array(length)
  let state = seed + 1
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    payload[at] = state >>> 24
  }
  return payload
}
