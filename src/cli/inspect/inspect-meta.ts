/** The embedded meta store: every key the coordinator keeps, with its revision and its value in words. */
import { dirname } from 'node:path'
import { open } from 'lmdb'
import { describeTimestamp } from '#cli/inspect/describe.js'
import { print } from '#cli/print.js'
import { describeManifest } from '#engine/segment/inspect.js'
import { decodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'

/** Bytes before the value: revision (f64, little-endian), held by a lease (u8); src/storage/meta/embedded. */
const headBytes = 9

/** @param path the store's folder, or its data.mdb */
export async function inspectMeta(path: string, limit: number): Promise<void> {
  const folder = path.endsWith('.mdb') ? dirname(path) : path
  const root = open({ path: folder, readOnly: true, keyEncoding: 'binary', encoding: 'binary' })
  try {
    const entries = root.openDB<Buffer, Uint8Array>('entries', {
      keyEncoding: 'binary',
      encoding: 'binary',
    })
    let printed = 0
    for (const { key, value } of entries.getRange()) {
      if (printed++ >= limit) continue
      const name = Buffer.from(key).toString()
      const bytes = Buffer.from(value)
      const lease = bytes[8] === 1 ? ', leased' : ''
      print(`${name}  (revision ${bytes.readDoubleLE(0)}${lease})`)
      for (const line of describeValue(name, bytes.subarray(headBytes))) print(`    ${line}`)
    }
    if (printed > limit) print(`… and ${printed - limit} keys more (--limit)`)
  } finally {
    await root.close()
  }
}

function describeValue(key: string, value: Buffer): readonly string[] {
  if (key.startsWith(metaKeys.segmentPrefix)) return describeManifest(JSON.parse(value.toString()))
  if (key === metaKeys.oracleLimit)
    return [`timestamps below ${describeTimestamp(decodeNumber(value))}`]
  if (key.startsWith(metaKeys.checkpointPrefix))
    return [`replay from position ${decodeNumber(value)}`]
  if (key === metaKeys.term || key.startsWith(metaKeys.counter('')))
    return [String(decodeNumber(value))]
  return [`${value.byteLength} bytes`]
}
