import type { FilePlan } from '#engine/segment/arrow-file.js'

export function joinPieces(plan: FilePlan): Uint8Array {
  const bytes = new Uint8Array(plan.byteLength)
  let at = 0
  for (const piece of plan.pieces()) {
    bytes.set(piece, at)
    at += piece.byteLength
  }
  return bytes
}
