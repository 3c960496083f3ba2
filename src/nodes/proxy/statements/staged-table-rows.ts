/** Bulk rows on their way into the shards of a table, invisible until the transaction commits. */
import type { ColumnBatch } from '#engine/columnar/column.js'
import { routeBatches } from '#nodes/proxy/distribute/route.js'
import type { StagedTable } from '#nodes/proxy/session/transaction.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { routedTable } from '#nodes/proxy/statements/read-rows.js'
import type { StagedRows } from '#nodes/streaming/contract.js'
import type { TableInfo } from '#postgres/contract.js'

export class StagedTableRows {
  readonly #execution: Execution
  readonly #table: TableInfo
  /** By shard, opened with its first rows. */
  readonly #shards = new Map<number, StagedRows>()

  constructor(execution: Execution, table: TableInfo) {
    this.#execution = execution
    this.#table = table
  }

  /** @throws 23505 */
  async append(batch: ColumnBatch): Promise<void> {
    const { runtime } = this.#execution.environment
    const routed = routeBatches(routedTable(this.#table), [batch], runtime.random)
    // All are waited for, so that none still runs when the first error gives the rows up.
    const ended = await Promise.allSettled(
      routed.map(async ({ shard, batches }) => {
        const rows = await this.#shard(shard)
        for (const part of batches) await rows.append(part, this.#execution.context)
      }),
    )
    const failed = ended.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #shard(shard: number): Promise<StagedRows> {
    const open = this.#shards.get(shard)
    if (open !== undefined) return open
    const rows = await this.#execution.environment.streaming.stage(this.#table.oid, shard)
    this.#shards.set(shard, rows)
    return rows
  }

  async abort(): Promise<void> {
    for (const rows of this.#shards.values()) await rows.abort()
  }

  tables(): readonly StagedTable[] {
    return [...this.#shards.values()].map((rows) => ({ tableId: this.#table.oid, rows }))
  }
}
