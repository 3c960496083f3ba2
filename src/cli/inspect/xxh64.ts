/**
 * XXH64, seed 0 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): the checksum of index files, which native
 * code writes and verifies (native/xxh64.h). This one is slow, some 20 MB/s, and says which section is damaged.
 */
const p1 = 11400714785074694791n
const p2 = 14029467366897019727n
const p3 = 1609587929392839161n
const p4 = 9650029242287828579n
const p5 = 2870177450012600261n
const mask = (1n << 64n) - 1n
const stripeBytes = 32

const rotate = (x: bigint, bits: bigint) => ((x << bits) | (x >> (64n - bits))) & mask
const round = (sum: bigint, lane: bigint) => (rotate((sum + lane * p2) & mask, 31n) * p1) & mask
const merge = (sum: bigint, value: bigint) => ((sum ^ round(0n, value)) * p1 + p4) & mask

export function xxh64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  let hash = p5
  if (bytes.length >= stripeBytes) {
    let [a, b, c, d] = [(p1 + p2) & mask, p2, 0n, -p1 & mask]
    for (; at + stripeBytes <= bytes.length; at += stripeBytes) {
      a = round(a, view.getBigUint64(at, true))
      b = round(b, view.getBigUint64(at + 8, true))
      c = round(c, view.getBigUint64(at + 16, true))
      d = round(d, view.getBigUint64(at + 24, true))
    }
    hash = (rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n)) & mask
    for (const lane of [a, b, c, d]) hash = merge(hash, lane)
  }
  hash = (hash + BigInt(bytes.length)) & mask
  for (; at + 8 <= bytes.length; at += 8)
    hash = (rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * p1 + p4) & mask
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(view.getUint32(at, true)) * p1) & mask), 23n) * p2 + p3) & mask
    at += 4
  }
  for (; at < bytes.length; at += 1)
    hash = (rotate(hash ^ ((BigInt(view.getUint8(at)) * p5) & mask), 11n) * p1) & mask
  hash = ((hash ^ (hash >> 33n)) * p2) & mask
  hash = ((hash ^ (hash >> 29n)) * p3) & mask
  return hash ^ (hash >> 32n)
}
