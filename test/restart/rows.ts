/** Rows of the restart measurement, made from their id: whoever reads one can tell what should be there. */
import { randomFrom } from '../differential/random.js'

const clusterCount = 2000
const spread = 0.7
export const tenantCount = 1000

export function tenantOf(id: number): number {
  return (id * 7919) % tenantCount
}

/** COPY BINARY of (id bigint, tenant int, embedding vector): clustered vectors. */
export class Rows {
  readonly dimensions: number
  readonly #centres: Float32Array

  constructor(dimensions: number) {
    this.dimensions = dimensions
    const random = randomFrom(20_261_122)
    this.#centres = Float32Array.from(
      { length: clusterCount * dimensions },
      () => random.integer(0, 1_000_000) / 1e6 - 0.5,
    )
  }

  vector(id: number): Float32Array {
    const { dimensions } = this
    const random = randomFrom(id)
    const at = random.integer(0, clusterCount - 1) * dimensions
    return Float32Array.from(
      { length: dimensions },
      (_, i) => (this.#centres[at + i] ?? 0) + (random.integer(0, 1_000_000) / 1e6 - 0.5) * spread,
    )
  }

  text(id: number): string {
    return `[${this.vector(id).join()}]`
  }

  /** From `from` up to, not including, `to`, in blocks with the header in front and the trailer behind. */
  *copyBinary(from: number, to: number): Generator<Buffer> {
    const { dimensions } = this
    const vectorBytes = 4 + 4 * dimensions
    // int16 fields; each field an int32 length before its bytes.
    const rowBytes = 2 + (4 + 8) + (4 + 4) + (4 + vectorBytes)
    // Signature, flags, length of the header's extension.
    yield Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)])
    const rowsPerBlock = 200
    for (let first = from; first < to; first += rowsPerBlock) {
      const count = Math.min(rowsPerBlock, to - first)
      const block = Buffer.allocUnsafe(count * rowBytes)
      let at = 0
      for (let id = first; id < first + count; id += 1) {
        at = block.writeInt16BE(3, at)
        at = block.writeInt32BE(8, at)
        at = block.writeBigInt64BE(BigInt(id), at)
        at = block.writeInt32BE(4, at)
        at = block.writeInt32BE(tenantOf(id), at)
        at = block.writeInt32BE(vectorBytes, at)
        at = block.writeInt16BE(dimensions, at)
        at = block.writeInt16BE(0, at)
        for (const number of this.vector(id)) at = block.writeFloatBE(number, at)
      }
      yield block
    }
    const trailer = Buffer.alloc(2)
    trailer.writeInt16BE(-1)
    yield trailer
  }
}
