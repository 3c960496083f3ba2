/**
 * Writes of one coordinator to the meta store, one after the other, each under the condition that no later coordinator
 * has opened: a deposed one's writes fail instead of overwriting.
 */
import { Mutex } from '#base/async/mutex.js'
import { DatabaseError, SqlState, StoreError } from '#base/errors.js'
import { decodeNumber, encodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

export interface FencedMeta {
  readonly term: number
  /** @throws DatabaseError 57P01 when a later coordinator took over; StoreError */
  write(operations: readonly MetaOperation[]): Promise<void>
  /** Runs sections that decide from what they read and then write, one at a time. */
  exclusively<T>(section: () => Promise<T>): Promise<T>
}

/** Raises the term. @throws StoreError */
export async function openFencedMeta(meta: MetaStore): Promise<FencedMeta> {
  const { term, revision } = await takeTerm(meta)
  const mutex = new Mutex()
  return {
    term,
    async write(operations) {
      const outcome = await meta.write([{ key: metaKeys.term, revision }], operations)
      if (outcome.kind === 'conflict') {
        throw new DatabaseError(
          SqlState.adminShutdown,
          'terminating: another coordinator has taken over',
        )
      }
    },
    exclusively: (section) => mutex.run(section),
  }
}

const attemptsMax = 10

async function takeTerm(meta: MetaStore): Promise<{ term: number; revision: number }> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const before = await meta.get(metaKeys.term)
    const term = before === undefined ? 1 : decodeNumber(before.value) + 1
    const outcome = await meta.write(
      [{ key: metaKeys.term, revision: before?.revision ?? 0 }],
      [{ kind: 'put', key: metaKeys.term, value: encodeNumber(term) }],
    )
    if (outcome.kind === 'conflict') continue
    // The revision as the store now has it; the value tells whether it is still ours.
    const after = await meta.get(metaKeys.term)
    if (after !== undefined && decodeNumber(after.value) === term) {
      return { term, revision: after.revision }
    }
  }
  throw new StoreError('determinate', 'could not take the coordinator term: others keep taking it')
}
