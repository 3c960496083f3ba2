/**
 * Which keys a segment certainly does not hold (a Bloom filter), kept while the segment itself is not in memory: a new key that is
 * no number does not bring every cold segment back.
 *
 *   words  Uint32Array, 16 bits per key, 8 of them set for each
 *
 * Made of the 32-bit hashes of key-hash.ts. About one absent key in 1,500 is taken for one that may be there.
 * Source: Kirsch and Mitzenmacher, "Less Hashing, Same Performance" (2006).
 */
const bitsPerKey = 16
const probeCount = 8

export class KeyFilter {
  readonly #words: Uint32Array
  readonly #bitCount: number

  constructor(keyCount: number) {
    this.#words = new Uint32Array(Math.max(1, Math.ceil((keyCount * bitsPerKey) / 32)))
    this.#bitCount = this.#words.length * 32
  }

  get byteLength(): number {
    return this.#words.byteLength
  }

  add(hash: number): void {
    const words = this.#words
    let at = hash >>> 0
    const step = stepOf(hash)
    for (let probe = 0; probe < probeCount; probe += 1) {
      const bit = at % this.#bitCount
      words[bit >>> 5] = (words[bit >>> 5] ?? 0) | (1 << (bit & 31))
      at = (at + step) >>> 0
    }
  }

  /** False: no key with this hash was added. */
  mayHold(hash: number): boolean {
    let at = hash >>> 0
    const step = stepOf(hash)
    for (let probe = 0; probe < probeCount; probe += 1) {
      const bit = at % this.#bitCount
      if (((this.#words[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false
      at = (at + step) >>> 0
    }
    return true
  }
}

/** A second hash of the first, odd (murmur3's finalizer). */
function stepOf(hash: number): number {
  let h = hash ^ 0x9e3779b9
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return ((h ^ (h >>> 16)) | 1) >>> 0
}
