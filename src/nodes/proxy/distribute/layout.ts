/** Which log channels hold what: tables as putTable() made them known, cut by (table, shard). */
import { InvariantError } from '#base/errors.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'

export class Layout {
  readonly #nodes: ReadonlyMap<string, StreamingNode>
  readonly #logChannelOf: (tableId: number, shard: number) => string
  readonly #tables = new Map<number, TableSchema>()
  /** In the order in which transactions visit them. */
  readonly names: readonly string[]

  constructor(
    nodes: ReadonlyMap<string, StreamingNode>,
    logChannelOf: (tableId: number, shard: number) => string,
  ) {
    this.#nodes = nodes
    this.#logChannelOf = logChannelOf
    this.names = [...nodes.keys()].sort(compareNames)
  }

  node(logChannel: string): StreamingNode {
    const node = this.#nodes.get(logChannel)
    if (node === undefined) {
      throw new InvariantError('SHARD-2', `nobody is known to own log channel ${logChannel}`)
    }
    return node
  }

  logChannelOf(tableId: number, shard: number): string {
    return this.#logChannelOf(tableId, shard)
  }

  owner(tableId: number, shard: number): StreamingNode {
    return this.node(this.#logChannelOf(tableId, shard))
  }

  put(schema: TableSchema): void {
    this.#tables.set(schema.tableId, schema)
  }

  drop(tableId: number): void {
    this.#tables.delete(tableId)
  }

  table(tableId: number): TableSchema | undefined {
    return this.#tables.get(tableId)
  }

  /** The log channels of a table's shards with the first shard on each, in order; of an unknown table: all there are. */
  logChannelsOf(tableId: number): ReadonlyMap<string, number> {
    const shardCount = this.#tables.get(tableId)?.shardCount
    if (shardCount === undefined) return new Map(this.names.map((name) => [name, 0]))
    const firstShards = new Map<string, number>()
    for (let shard = 0; shard < shardCount; shard += 1) {
      const name = this.#logChannelOf(tableId, shard)
      if (!firstShards.has(name)) firstShards.set(name, shard)
    }
    return new Map([...firstShards].sort(([a], [b]) => compareNames(a, b)))
  }

  nodesOf(tableId: number | undefined): readonly StreamingNode[] {
    const names = tableId === undefined ? this.names : [...this.logChannelsOf(tableId).keys()]
    return names.map((name) => this.node(name))
  }
}

/** Rows with equal keys may lie in different shards: the key does not contain the primary key. */
export function spansShards(
  schema: Pick<TableSchema, 'keys' | 'shardCount'>,
  key: KeyConstraint,
): boolean {
  if (schema.shardCount === 1) return false
  const primary = schema.keys.find((candidate) => candidate.primary)
  return primary === undefined || !primary.attnums.every((attnum) => key.attnums.includes(attnum))
}

/** One order for all proxies; which one does not matter. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
