/** What is under way and long: pg_stat_progress_create_index and pg_stat_progress_copy are made of it. */
import type { VectorIndexSchema } from '#engine/columnar/schema.js'
import type { TableInfo } from '#postgres/contract.js'

export interface ProgressEntry {
  readonly command: 'create index' | 'copy from' | 'copy to'
  /** pg_stat_activity.pid of the session it works for. */
  readonly processId: number
  readonly table: TableInfo
  readonly index: VectorIndexSchema | undefined
  done: number
  total: number
}

export interface ProgressHandle {
  update(done: number, total: number): void
  end(): void
}

export class Progress {
  readonly #entries = new Set<ProgressEntry>()

  begin(
    command: ProgressEntry['command'],
    processId: number,
    table: TableInfo,
    index?: VectorIndexSchema,
  ): ProgressHandle {
    const entry: ProgressEntry = { command, processId, table, index, done: 0, total: 0 }
    this.#entries.add(entry)
    return {
      update: (done, total) => {
        entry.done = done
        entry.total = total
      },
      end: () => {
        this.#entries.delete(entry)
      },
    }
  }

  entries(): readonly ProgressEntry[] {
    return [...this.#entries]
  }
}
