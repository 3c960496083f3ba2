/**
 * A copy of the coordinator's keys in the object store, so that a lost meta store can be made again (docs/recover-meta.md).
 *
 *   meta-copy/<term, 12>/<number, 12>-base-<crc>.json      all keys
 *   meta-copy/<term, 12>/<number, 12>-changes-<crc>.json   those changed since the object before
 *
 * Every write is noted when the meta store has it, in its order; save() puts what was noted and not put. So the copy is always a
 * state that the meta store was in. What may only happen when it is in the copy waits for save(): DDL is acknowledged, the log is
 * truncated, objects are removed. A coordinator begins with a base of its own: what a deposed one still puts lies before it.
 *
 * Left out: who leads, who is there, who owns what, and the oracle's limit, which the clock and the log tell.
 * Crash: the next coordinator's base has what was noted and not put. Retry: under the next number, with what may have been lost.
 */
import { crc32 } from 'node:zlib'
import { Mutex } from '#base/async/mutex.js'
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { objectHoldPrefix } from '#nodes/coordinator/contract.js'
import type { FencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export const metaCopyPrefix = 'meta-copy/'

/** Key, value as base64; null: deleted. */
export type CopiedKey = readonly [string, string | null]

export interface MetaCopyObject {
  readonly formatVersion: 1
  readonly kind: 'base' | 'changes'
  readonly term: number
  readonly number: number
  /** Changes: of the object that they follow; numbers in between, if they are there, are beginnings of this one. */
  readonly after: number
  /** Unix milliseconds, for people. */
  readonly savedMs: number
  readonly keys: readonly CopiedKey[]
}

export interface MetaCopy {
  /** The same writes, noted. */
  readonly fenced: FencedMeta
  /** Resolves when everything written before is in the object store. @throws StoreError indeterminate */
  save(): Promise<void>
  stop(): Promise<void>
}

const changesMax = 200
/** What nobody waits for is in the copy after about this time. */
const saveEveryMs = 2000

const leftOut = [
  metaKeys.oracleLimit,
  'owner/',
  'owner-step/',
  'coordinator/',
  'nodes/',
  'cluster/',
]
const leftOutSetting = metaKeys.setting(objectHoldPrefix)

function isCopied(key: string): boolean {
  return !leftOut.some((prefix) => key.startsWith(prefix)) && !key.startsWith(leftOutSetting)
}

export function copiesMeta(
  inner: FencedMeta,
  meta: MetaStore,
  objects: ObjectStore,
  runtime: Runtime,
): MetaCopy {
  const { term } = inner
  let noted: CopiedKey[] = []
  /** Writes noted, and how many of them are put. */
  let notedCount = 0
  let savedCount = -1
  let number = 0
  let lastPut = -1
  /** Names of what a base makes needless. */
  let since: string[] = []
  let needsBase = true
  const mutex = new Mutex()
  const stopping = new AbortController()

  const fenced: FencedMeta = {
    ...inner,
    async write(operations) {
      try {
        await inner.write(operations)
      } catch (error) {
        // It may have happened.
        needsBase = true
        notedCount += 1
        throw error
      }
      const keys = operations.filter(({ key }) => isCopied(key)).map(copied)
      if (keys.length === 0) return
      noted.push(...keys)
      notedCount += 1
    },
  }

  async function save(): Promise<void> {
    const wanted = notedCount
    if (savedCount >= wanted) return
    await mutex.run(async () => {
      if (savedCount >= wanted) return
      if (needsBase || since.length >= changesMax) await saveBase()
      else await saveChanges()
    })
  }

  async function saveBase(): Promise<void> {
    // No write of several keys is under way then.
    const { keys, count } = await inner.exclusively(async () => {
      const before = notedCount
      needsBase = false
      noted = []
      const entries = await meta.list('')
      return { keys: entries.filter(({ key }) => isCopied(key)).map(stored), count: before }
    })
    try {
      const name = await put('base', keys)
      await removeOlder(name)
      since = [name]
      savedCount = count
    } catch (error) {
      needsBase = true
      throw unclear(error)
    }
  }

  async function saveChanges(): Promise<void> {
    const keys = noted
    const count = notedCount
    noted = []
    try {
      since.push(await put('changes', keys))
      savedCount = count
    } catch (error) {
      noted = [...keys, ...noted]
      throw unclear(error)
    }
  }

  async function put(kind: MetaCopyObject['kind'], keys: readonly CopiedKey[]): Promise<string> {
    const savedMs = Math.floor(runtime.nowMs())
    const own = number
    // Of one whose outcome is unclear nobody may make another.
    number += 1
    const object: MetaCopyObject = {
      ...{ formatVersion: 1, kind, term, number: own, after: lastPut, savedMs, keys },
    }
    const bytes = new TextEncoder().encode(JSON.stringify(object))
    const checksum = crc32(bytes).toString(16).padStart(8, '0')
    const name = `${metaCopyPrefix}${padded(term)}/${padded(own)}-${kind}-${checksum}.json`
    await objects.put(name, bytes)
    lastPut = own
    return name
  }

  /** Those of other coordinators, too. */
  async function removeOlder(base: string): Promise<void> {
    const older: string[] = []
    for await (const { name } of objects.list(metaCopyPrefix)) if (name < base) older.push(name)
    for (const name of older) await objects.delete(name)
  }

  const background = (async () => {
    while (!stopping.signal.aborted) {
      await runtime.sleep(saveEveryMs, stopping.signal).catch(() => {})
      // Nothing was written yet, or it fails: whoever must know waits for save() itself.
      if (!stopping.signal.aborted && notedCount > 0) await save().catch(() => {})
    }
  })()

  return {
    fenced,
    save,
    async stop() {
      stopping.abort()
      await background
      // What is written after it, nobody waits for.
      if (notedCount > 0) await save().catch(() => {})
    },
  }
}

function copied(operation: MetaOperation): CopiedKey {
  const { kind, key } = operation
  return [key, kind === 'put' ? base64(operation.value) : null]
}

function stored({ key, value }: { readonly key: string; readonly value: Uint8Array }): CopiedKey {
  return [key, base64(value)]
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function padded(number: number): string {
  return String(number).padStart(12, '0')
}

/** The meta store has it: whether it is in the copy, the next save() will tell. */
function unclear(error: unknown): unknown {
  if (!(error instanceof StoreError) || error.outcome === 'indeterminate') return error
  return new StoreError('indeterminate', error.message, error, error.reason)
}
