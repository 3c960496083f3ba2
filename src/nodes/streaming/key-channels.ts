/** In which channels of the node a unique key must be looked for. */
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { Channel, Table } from '#nodes/streaming/channel.js'

/**
 * Rows are spread over shards by their primary key: a key that contains its columns lies in one shard. Any other is looked for
 * in all of the table that are this node's.
 */
export function isWithinShard(schema: TableSchema, key: KeyConstraint): boolean {
  if (schema.shardCount === 1 || key.primary) return true
  const primary = schema.keys.find((candidate) => candidate.primary)
  return primary?.attnums.every((attnum) => key.attnums.includes(attnum)) ?? false
}

/** The row's own channel comes first. */
export function keyChannels(table: Table, key: KeyConstraint, own: Channel): readonly Channel[] {
  if (isWithinShard(table.schema, key)) return [own]
  return [own, ...table.channels.filter((channel) => channel !== own)]
}

/** Rises when the sealed segments of any of them change. */
export function generationOf(channels: readonly Channel[]): number {
  let sum = 0
  for (const channel of channels) sum += channel.sealedGeneration
  return sum
}
