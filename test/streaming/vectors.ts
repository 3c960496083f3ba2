/** Clustered vectors, made before anything is measured, in the three forms that clients send. */
import { randomFrom } from '../differential/random.js'

export interface Vectors {
  readonly dimensions: number
  text(index: number): string
  /** pgvector's send format. */
  binary(index: number): Buffer
}

const clusterCount = 500
const noise = 0.8

export function makeVectors(count: number, dimensions: number, seed: number): Vectors {
  const centres = randomFrom(20_261_121)
  const random = randomFrom(seed)
  const unit = (from: typeof random): number => from.integer(0, 1_000_000) / 1e6
  const middle = new Float32Array(clusterCount * dimensions).map(() => unit(centres) - 0.5)
  const texts = Array.from({ length: count }, () => {
    const at = random.integer(0, clusterCount - 1) * dimensions
    const numbers = Array.from({ length: dimensions }, (_, i) =>
      ((middle[at + i] ?? 0) + (unit(random) + unit(random) - 1) * noise).toFixed(4),
    )
    return `[${numbers.join()}]`
  })
  return {
    dimensions,
    text: (index) => texts[index % count] ?? '',
    binary: (index) => vectorToBinary(texts[index % count] ?? ''),
  }
}

/** int16 dimensions, int16 0, float4 each. */
function vectorToBinary(text: string): Buffer {
  const numbers = JSON.parse(text) as number[]
  const bytes = Buffer.alloc(4 + 4 * numbers.length)
  bytes.writeInt16BE(numbers.length, 0)
  for (const [i, number] of numbers.entries()) bytes.writeFloatBE(number, 4 + 4 * i)
  return bytes
}
