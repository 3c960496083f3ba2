/** The embedded meta store: every key, with its revision and its value in words. */
import { dirname } from 'node:path'
import { open } from 'lmdb'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { decodeStoredEntry } from '#storage/meta/embedded/stored-entry.js'
import { count, describeBytes } from './describe.js'
import { describeMetaValue } from './describe-meta-value.js'
import type { InspectOptions } from './options.js'
import { orDamage, type Report } from './report.js'

/** @param path the store's folder, or its data.mdb */
export async function inspectMeta(
  path: string,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  const folder = path.endsWith('.mdb') ? dirname(path) : path
  const root = open({ path: folder, readOnly: true, keyEncoding: 'binary', encoding: 'binary' })
  try {
    const names = { keyEncoding: 'binary', encoding: 'binary' } as const
    const entries = root.openDB<Buffer, Uint8Array>('entries', names)
    const state = root.openDB<Buffer, Uint8Array>('state', names)
    const revision = state.get(Buffer.from('revision', 'latin1'))
    report.line(
      `meta store, last revision ${revision === undefined ? 'none' : Buffer.from(revision).readDoubleLE(0)}`,
    )
    const ddl: DdlChunk[] = []
    let printed = 0
    let passed = 0
    for (const { key: bytes, value: stored } of entries.getRange()) {
      const key = Buffer.from(bytes).toString()
      if (!key.startsWith(options.key)) continue
      const entry = orDamage(report, `key "${key}"`, () =>
        decodeStoredEntry(bytes, Buffer.from(stored)),
      )
      if (entry === undefined) continue
      if (printed >= options.limit) {
        passed += 1
        continue
      }
      printed += 1
      const lease = entry.isLeased ? ', leased' : ''
      report.line(
        `${key}  (revision ${entry.revision}${lease}, ${count(entry.value.length, 'byte')})`,
      )
      if (key.startsWith(metaKeys.ddlPrefix)) {
        ddl.push({ key, value: entry.value })
        continue
      }
      const lines = orDamage(report, `key "${key}"`, () => describeMetaValue(key, entry.value))
      for (const line of lines ?? []) report.line(`    ${line}`)
    }
    if (passed > 0) report.line(`… and ${count(passed, 'key')} more (--limit N)`)
    describeDdlLog(ddl, report)
  } finally {
    await root.close()
  }
}

interface DdlChunk {
  readonly key: string
  readonly value: Buffer
}

/** Chunks of one append belong together: (u32 length, bytes)*. */
function describeDdlLog(chunks: readonly DdlChunk[], report: Report): void {
  if (chunks.length === 0) return
  report.line('DDL log')
  const appends = new Map<string, Buffer[]>()
  for (const { key, value } of chunks) {
    const first = key.slice(0, key.lastIndexOf('/'))
    appends.set(first, [...(appends.get(first) ?? []), value])
  }
  for (const [first, parts] of appends) {
    let version = Number(first.slice(metaKeys.ddlPrefix.length))
    const bytes = Buffer.concat(parts)
    for (let at = 0; at < bytes.length; ) {
      const end =
        at + 4 <= bytes.length ? at + 4 + bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY
      if (end > bytes.length) {
        report.damage(
          `DDL log after version ${version}: entry cut short at offset ${at} of ${first}`,
        )
        break
      }
      version += 1
      report.line(`  version ${version}: ${describeDdl(bytes.subarray(at + 4, end))}`)
      at = end
    }
  }
}

function describeDdl(entry: Buffer): string {
  try {
    const { sql, settings } = JSON.parse(entry.toString()) as {
      readonly sql: string
      readonly settings: { readonly user: string }
    }
    return `${settings.user}: ${sql.replaceAll(/\s+/g, ' ')}`
  } catch {
    return describeBytes(entry)
  }
}
