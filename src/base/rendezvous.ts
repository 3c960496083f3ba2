/** Rendezvous hashing: the nodes that an item wants, best first; who asks later gets the same, and few move when nodes do. */
export function rankByHash(item: number, nodeIds: readonly string[]): string[] {
  return nodeIds
    .map((id) => ({ id, weight: mix(item, id) }))
    .sort((a, b) => b.weight - a.weight || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id)
}

/** FNV-1a over the name and the number, finished as MurmurHash3 does (fmix32). */
function mix(item: number, id: string): number {
  let hash = 0x811c9dc5
  for (const unit of `${id}/${item}`) {
    hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
