/**
 * Writes of one coordinator to the meta store, each under the condition that no later coordinator has opened: a deposed one's
 * writes fail instead of overwriting.
 *
 * Unclear outcomes: when a write may have happened, or may happen yet, what is remembered of the store is not to be trusted.
 * Before anything else is decided or told, the fence is renewed (the same term, a new revision), so that the unclear write can
 * happen no more, and what is remembered is read again.
 */
import { Mutex } from '#base/async/mutex.js'
import { DatabaseError, SqlState, StoreError } from '#base/errors.js'
import { decodeNumber, encodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

export interface FencedMeta {
  readonly term: number
  /** @throws DatabaseError 57P01 when a later coordinator took over; StoreError */
  write(operations: readonly MetaOperation[]): Promise<void>
  /** Runs sections that decide from what they read and then write, one at a time, after everything unclear is settled. */
  exclusively<T>(section: () => Promise<T>): Promise<T>
  /** Resolves when what is remembered is what is stored. @throws StoreError */
  settled(): Promise<void>
  /** Called to read again what is remembered. */
  onUnclear(reload: () => Promise<void>): void
  /**
   * Resolves when the store has said, after the call, that no later coordinator has opened. Those who call while one is asked
   * share the next question. @throws DatabaseError 57P01; StoreError
   */
  confirm(): Promise<void>
}

/** Raises the term. @throws StoreError */
export async function openFencedMeta(meta: MetaStore): Promise<FencedMeta> {
  const taken = await takeTerm(meta)
  const { term } = taken
  let { revision } = taken
  const mutex = new Mutex()
  const reloads: (() => Promise<void>)[] = []
  /** Writes with an unclear outcome: so many there were, so many are settled. */
  let unclearCount = 0
  let settledCount = 0
  let asking: Promise<void> | undefined
  let askingNext: Promise<void> | undefined

  /** Adopts the fence's revision. @throws 57P01 when it is not ours any more */
  async function readFence(): Promise<void> {
    const entry = await meta.get(metaKeys.term)
    if (entry === undefined || decodeNumber(entry.value) !== term) throw deposed()
    revision = entry.revision
  }

  async function settle(): Promise<void> {
    const count = unclearCount
    if (count === settledCount) return
    const before = revision
    await readFence()
    // Otherwise an earlier attempt has renewed it.
    if (revision === before) {
      const operation = { kind: 'put', key: metaKeys.term, value: encodeNumber(term) } as const
      await meta.write([{ key: metaKeys.term, revision }], [operation])
      await readFence()
    }
    for (const reload of reloads) await reload()
    settledCount = count
  }

  function ask(): Promise<void> {
    const question = readFenceOnly(meta, term).finally(() => {
      asking = undefined
    })
    asking = question
    return question
  }

  const fenced: FencedMeta = {
    term,
    async write(operations) {
      try {
        for (;;) {
          const outcome = await meta.write([{ key: metaKeys.term, revision }], operations)
          if (outcome.kind === 'done') return
          // Renewed meanwhile, or taken by another.
          await readFence()
        }
      } catch (error) {
        if (error instanceof StoreError && error.outcome === 'indeterminate') unclearCount += 1
        throw error
      }
    },
    exclusively: (section) =>
      mutex.run(async () => {
        await settle()
        return await section()
      }),
    async settled() {
      if (unclearCount !== settledCount) await fenced.exclusively(async () => {})
    },
    onUnclear(reload) {
      reloads.push(reload)
    },
    confirm() {
      if (asking === undefined) return ask()
      askingNext ??= asking
        .catch(() => {})
        .then(() => {
          askingNext = undefined
          return ask()
        })
      return askingNext
    },
  }
  return fenced
}

async function readFenceOnly(meta: MetaStore, term: number): Promise<void> {
  const entry = await meta.get(metaKeys.term)
  if (entry === undefined || decodeNumber(entry.value) !== term) throw deposed()
}

function deposed(): DatabaseError {
  return new DatabaseError(
    SqlState.adminShutdown,
    'terminating: another coordinator has taken over',
  )
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
