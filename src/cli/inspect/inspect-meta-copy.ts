/** One object of the copy of a meta store: a base of all keys, or the changes after it. */
import { readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { checksumOf } from '#engine/segment/checksum.js'
import type { CopiedKey, MetaCopyObject } from '#nodes/coordinator/meta-copy.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { count, describeBytes } from './describe.js'
import { describeMetaValue } from './describe-meta-value.js'
import { checkName } from './inspect-segment.js'
import type { InspectOptions } from './options.js'
import { orDamage, type Report } from './report.js'

export async function inspectMetaCopy(
  path: string,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  const bytes = await readFile(path)
  const checksum = checksumOf(bytes)
  report.line(`copy of a meta store, ${count(bytes.length, 'byte')}, CRC-32 ${checksum}`)
  checkName(path, checksum, report)
  const object = orDamage(report, 'copy', () => decode(bytes.toString('utf8')))
  if (object === undefined) return
  const { kind, term, number, keys } = object
  const named = `${String(number).padStart(12, '0')}-${kind}-${checksum}.json`
  if (basename(path) !== named) report.damage(`${named} is its name by its content`)
  const folder = String(term).padStart(12, '0')
  if (!basename(dirname(path)).includes(folder)) {
    report.line(`  it belongs into the folder meta-copy/${folder}`)
  }
  const what = kind === 'base' ? 'all keys' : `changes after object ${object.after}`
  const saved = new Date(object.savedMs).toISOString()
  report.line(`  format 1, object ${number} of term ${term}: ${what}, saved at ${saved}`)
  const wanted = keys.filter(([key]) => key.startsWith(options.key))
  for (const each of wanted.slice(0, options.limit)) describeKey(each, report)
  const left = wanted.length - options.limit
  if (left > 0) report.line(`… and ${count(left, 'key')} more (--limit N)`)
}

/** What is followed here is there. */
function decode(text: string): MetaCopyObject {
  const object = JSON.parse(text) as MetaCopyObject
  if (object.formatVersion !== 1) throw new Error(`format version ${object.formatVersion}`)
  if (object.kind !== 'base' && object.kind !== 'changes') throw new Error('it is of no known kind')
  if (!Array.isArray(object.keys)) throw new Error('there are no keys')
  return object
}

function describeKey([key, text]: CopiedKey, report: Report): void {
  if (text === null) {
    report.line(`${key}  (deleted)`)
    return
  }
  const value = Buffer.from(text, 'base64')
  report.line(`${key}  (${count(value.length, 'byte')})`)
  const isDdl = key.startsWith(metaKeys.ddlPrefix)
  // Chunks of DDL are whole only together, and may lie in several objects.
  const lines = orDamage(report, `key "${key}"`, () =>
    isDdl ? [describeBytes(value)] : describeMetaValue(key, value),
  )
  for (const line of lines ?? []) report.line(`    ${line}`)
}
