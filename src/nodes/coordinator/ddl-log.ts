/**
 * The DDL log: entries in order, the number of entries is the catalog version. The entries of one append are one
 * write: all or none. Values of the meta store are bounded, so an append is cut into chunks.
 */
import { DatabaseError, invariant, SqlState } from '#base/errors.js'
import { metaValueBytesMax } from '#base/limits.js'
import type { FencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { decodeJson, encodeJson, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

export interface DdlLog {
  entries(): readonly Uint8Array[]
  /** @returns false if the log does not have `expectedVersion` entries */
  append(
    expectedVersion: number,
    entries: readonly Uint8Array[],
    appendId: string | undefined,
  ): Promise<boolean>
}

/** Version and id of an append. */
type Append = readonly [number, string]

/** Appends that are remembered by their ids: who has not heard what became of one asks within seconds. */
const appendsRemembered = 100

export async function openDdlLog(meta: MetaStore, fenced: FencedMeta): Promise<DdlLog> {
  let log: readonly Uint8Array[] = []
  let appends: readonly Append[] = []

  async function load(): Promise<void> {
    const loaded = await readEntries(meta)
    const remembered = await meta.get(metaKeys.ddlAppends)
    log = loaded
    appends = remembered === undefined ? [] : (decodeJson(remembered.value) as Append[])
  }
  await load()
  fenced.onUnclear(load)

  return {
    entries: () => log,
    append: (expectedVersion, entries, appendId) =>
      fenced.exclusively(async () => {
        if (appendId !== undefined && appends.some(([, id]) => id === appendId)) return true
        if (log.length !== expectedVersion) return false
        if (entries.length === 0) return true
        const operations = chunksOf(expectedVersion, encodeEntries(entries))
        let appendsAfter = appends
        if (appendId !== undefined) {
          const append: Append = [expectedVersion, appendId]
          appendsAfter = [...appends, append].slice(-appendsRemembered)
          const value = encodeJson(appendsAfter)
          operations.push({ kind: 'put', key: metaKeys.ddlAppends, value })
        }
        await fenced.write(operations)
        log = [...log, ...entries.map((entry) => entry.slice())]
        appends = appendsAfter
        return true
      }),
  }
}

async function readEntries(meta: MetaStore): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  let version = 0
  let chunks: Uint8Array[] = []
  for (const { key, value } of await meta.list(metaKeys.ddlPrefix)) {
    const [, first = '', chunk = ''] = key.split('/')
    if (Number(chunk) === 0) {
      entries.push(...decodeEntries(chunks))
      chunks = []
      version = entries.length
    }
    invariant('CAT-2', Number(first) === version, () => `DDL log has a gap at ${version}: ${key}`)
    chunks.push(value)
  }
  entries.push(...decodeEntries(chunks))
  return entries
}

function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + 4 + entry.byteLength, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const entry of entries) {
    view.setUint32(at, entry.byteLength, true)
    bytes.set(entry, at + 4)
    at += 4 + entry.byteLength
  }
  return bytes
}

function decodeEntries(chunks: readonly Uint8Array[]): Uint8Array[] {
  const bytes = Buffer.concat(chunks)
  const entries: Uint8Array[] = []
  let at = 0
  while (at < bytes.byteLength) {
    const end = at + 4 <= bytes.byteLength ? at + 4 + bytes.readUInt32LE(at) : Infinity
    if (end > bytes.byteLength) {
      throw new DatabaseError(SqlState.dataCorrupted, 'DDL log is corrupted: entry cut short')
    }
    entries.push(new Uint8Array(bytes.subarray(at + 4, end)))
    at = end
  }
  return entries
}

function chunksOf(version: number, bytes: Uint8Array): MetaOperation[] {
  const operations: MetaOperation[] = []
  for (let at = 0, chunk = 0; at < bytes.byteLength; at += metaValueBytesMax, chunk += 1) {
    const value = bytes.subarray(at, at + metaValueBytesMax)
    operations.push({ kind: 'put', key: metaKeys.ddl(version, chunk), value })
  }
  return operations
}
