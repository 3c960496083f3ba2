/** A query node as those see it who place segments on it. */
import type { Runtime } from '#base/runtime.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { QueryReplica } from '#nodes/query/contract.js'
import { errorKind } from '#nodes/query/placed/error-kind.js'

/** Passed over for so long after it gave no answer, if there is another. */
export const awayMs = 500
const retryMs = 50

export class PlacedNode {
  readonly id: string
  readonly replica: QueryReplica
  /** Rows that reads under way go through. */
  rowsInFlight = 0
  isDraining = false
  /** Its life has ended, or nobody looks after it any more. */
  isGone = false
  /** Looked at again when it may be back. */
  isAwaited = false
  readonly #runtime: Runtime
  #awayUntilMs = Number.NEGATIVE_INFINITY
  /** Schemas under way to it; a read of the table waits. */
  readonly #sending = new Map<number, Promise<void>>()

  constructor(id: string, replica: QueryReplica, runtime: Runtime) {
    this.id = id
    this.replica = replica
    this.#runtime = runtime
  }

  get isAway(): boolean {
    return this.#runtime.monotonicMs() < this.#awayUntilMs
  }

  noteAway(): void {
    this.#awayUntilMs = this.#runtime.monotonicMs() + awayMs
  }

  noteAnswer(): void {
    this.#awayUntilMs = Number.NEGATIVE_INFINITY
  }

  putSchema(schema: TableSchema): void {
    const before = this.#sending.get(schema.tableId)
    if (before === undefined) {
      const sent = this.replica.putSchema(schema)
      if (sent === undefined) return
      this.#track(schema.tableId, this.#send(sent, schema))
    } else {
      this.#track(
        schema.tableId,
        before.then(() => this.#send(this.replica.putSchema(schema), schema)),
      )
    }
  }

  /** undefined: it knows the newest schema of the table. */
  knowsSchema(tableId: number): Promise<void> | undefined {
    return this.#sending.get(tableId)
  }

  #track(tableId: number, sending: Promise<void>): void {
    this.#sending.set(tableId, sending)
    void sending.then(() => {
      if (this.#sending.get(tableId) === sending) this.#sending.delete(tableId)
    })
  }

  /** Never rejects: a node that does not take a schema is of no use, and the reads of others go elsewhere. */
  async #send(first: void | Promise<void>, schema: TableSchema): Promise<void> {
    for (let sent = first; ; sent = this.replica.putSchema(schema)) {
      try {
        // Whatever was sent is awaited, also for a node that has gone: nobody else hears that it failed.
        await sent
        return
      } catch (error) {
        if (errorKind(error) === 'final') return
        this.noteAway()
        await this.#runtime.sleep(retryMs)
        if (this.isGone) return
      }
    }
  }
}
