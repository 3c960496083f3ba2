/** Vectors of many rows into one column: each text is read where it lies, straight into the column's floats. */
import type { Column } from '#engine/columnar/column.js'
import { fixedColumn } from '#engine/columnar/column-builder.js'
import { native } from '#engine/index/native.js'

/** Where the text of a row's vector lies; `binary`: it is in send format. */
export interface VectorSource {
  readonly bytes: Uint8Array
  readonly from: number
  readonly to: number
  readonly binary: boolean
}

/**
 * @returns undefined when some value is none of a plain vector (NULL, not finite, other dimensions in send format): to be read
 * one by one
 * @throws {code, message} 22P02, 22003, 22000 with pgvector's words, as native.parseVector
 */
export function vectorColumn(
  dimensions: number,
  rowCount: number,
  sourceOf: (row: number) => VectorSource | undefined,
): Column | undefined {
  const values = new Float32Array(rowCount * dimensions)
  for (let row = 0; row < rowCount; row += 1) {
    const source = sourceOf(row)
    if (source === undefined) return undefined
    const { bytes, from, to, binary } = source
    const at = row * dimensions
    if (!binary) native.parseVectorInto(bytes, from, to, dimensions, values, at)
    else if (!receive(bytes.subarray(from, to), dimensions, values, at)) return undefined
  }
  return fixedColumn('vector', dimensions, rowCount, values, undefined)
}

/** int16 dimensions, int16 0, float4 each, big-endian. @returns false when that is not what it is */
function receive(bytes: Uint8Array, dimensions: number, values: Float32Array, at: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.byteLength !== 4 + 4 * dimensions || view.getUint16(0) !== dimensions) return false
  if (view.getUint16(2) !== 0) return false
  let sum = 0
  for (let i = 0; i < dimensions; i += 1) {
    const value = view.getFloat32(4 + 4 * i)
    values[at + i] = value
    sum += value - value
  }
  // x - x is 0 for whatever is finite, else NaN.
  return sum === 0
}
