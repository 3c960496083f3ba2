/**
 * Where sealed segments should be, as the leader writes it: settings `cluster/segments/<chunk>`, a chunk for 1,024 segment ids, JSON
 * `{ nodes: [id …], segments: [[segment id, index of a node …] …] }`.
 */
export const placementPrefix = 'cluster/segments/'
const chunkSize = 1024

export function chunksOf(
  placed: ReadonlyMap<number, readonly string[]>,
): ReadonlyMap<number, ReadonlyMap<number, readonly string[]>> {
  const chunks = new Map<number, Map<number, readonly string[]>>()
  for (const [segmentId, nodes] of placed) {
    const at = Math.floor(segmentId / chunkSize)
    const chunk = chunks.get(at) ?? new Map<number, readonly string[]>()
    chunks.set(at, chunk)
    chunk.set(segmentId, nodes)
  }
  return chunks
}

/** The same text for the same placement. */
export function encodeChunk(placed: ReadonlyMap<number, readonly string[]>): string {
  const nodes = [...new Set([...placed.values()].flat())].sort()
  const at = new Map(nodes.map((id, i) => [id, i]))
  const segments = [...placed]
    .sort(([a], [b]) => a - b)
    .map(([segmentId, on]) => [segmentId, ...on.map((id) => at.get(id))])
  return JSON.stringify({ nodes, segments })
}

export function decodeChunk(text: string): ReadonlyMap<number, readonly string[]> {
  const { nodes, segments } = JSON.parse(text) as {
    readonly nodes: readonly string[]
    readonly segments: readonly (readonly number[])[]
  }
  return new Map(
    segments.map(([segmentId = 0, ...on]) => [segmentId, on.map((i) => nodes[i] ?? '')]),
  )
}
