/** A sealed segment's manifest, and whether the objects it names are there as it says. */
import { readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { checksumOf } from '#engine/segment/checksum.js'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { openSealedFile } from '#engine/segment/sealed-file.js'
import { count, describeTimestamp, hex } from './describe.js'
import { formatDatum } from './describe-columns.js'
import { checkName } from './inspect-segment.js'
import { orDamage, type Report } from './report.js'

export async function inspectManifest(path: string, report: Report): Promise<void> {
  const bytes = await readFile(path)
  const checksum = checksumOf(bytes)
  report.line(`manifest of a segment, ${count(bytes.length, 'byte')}, CRC-32 ${checksum}`)
  checkName(path, checksum, report)
  const manifest = orDamage(report, 'manifest', () =>
    checkShape(JSON.parse(bytes.toString('utf8')) as SegmentManifest),
  )
  if (manifest === undefined) return
  const types = await checkObjects(path, manifest, report)
  for (const line of describeManifest(manifest, types)) report.line(`  ${line}`)
}

/** What is followed here is there. */
function checkShape(manifest: SegmentManifest): SegmentManifest {
  const { formatVersion, data, deletes, indexes, columns } = manifest
  if (formatVersion !== 1) throw new Error(`format version ${formatVersion} is not known`)
  const objects = [data, deletes, ...indexes.map(({ object }) => object)]
  for (const [i, object] of objects.entries()) {
    if (object === undefined && i === 1) continue
    if (typeof object?.name !== 'string' || typeof object.bytes !== 'number')
      throw new Error('an object has no name or no size')
  }
  if (!Array.isArray(columns)) throw new Error('there are no columns')
  return manifest
}

/** @param types pg_type.typname by attribute number: least and greatest values of others are hexadecimal */
export function describeManifest(
  manifest: SegmentManifest,
  types: ReadonlyMap<number, string> = new Map(),
): readonly string[] {
  const { data, deletes, deletesUntil, indexes, columns } = manifest
  const object = ({ name, bytes, checksum }: ObjectReference) =>
    `${name}, ${count(bytes, 'byte')}, CRC-32 ${checksum}`
  return [
    `segment ${manifest.segmentId} of table ${manifest.tableId} (incarnation ${manifest.incarnation}), ` +
      `shard ${manifest.shard}, format ${manifest.formatVersion}`,
    `${count(manifest.rowCount, 'row')}, row ids ${manifest.minRowId} to ${manifest.maxRowId}`,
    `inserted ${describeTimestamp(manifest.minTimestamp)} to ${describeTimestamp(manifest.maxTimestamp)}`,
    ...(deletesUntil === undefined
      ? []
      : [`deletes up to ${describeTimestamp(deletesUntil)} are all here, or their rows are not`]),
    `data     ${object(data)}`,
    `deletes  ${deletes === undefined ? 'none' : object(deletes)}`,
    ...indexes.map(
      (index) =>
        `index    ${index.indexOid} on column ${index.attnum} (${index.metric}): ${object(index.object)}`,
    ),
    ...columns.map(({ attnum, nullCount, min, max }) => {
      const bound = (base64: string) => describeBound(base64, types.get(attnum))
      const bounds =
        min === undefined || max === undefined ? '' : `, ${bound(min)} to ${bound(max)}`
      return `column   ${attnum}: ${nullCount} NULL${bounds}`
    }),
  ]
}

function describeBound(base64: string, typeName = ''): string {
  const datum = Buffer.from(base64, 'base64')
  return formatDatum(typeName, datum) ?? hex(datum)
}

/** The objects' root is the folder above `tables/`. @returns the types of the data object's columns */
async function checkObjects(
  path: string,
  { data, deletes, indexes, rowCount }: SegmentManifest,
  report: Report,
): Promise<ReadonlyMap<number, string>> {
  const types = new Map<number, string>()
  const [root] = resolve(path).split('/tables/')
  if (root === undefined || root === resolve(path)) return types
  for (const object of [data, deletes, ...indexes.map((index) => index.object)]) {
    if (object === undefined) continue
    const bytes = await checkObject(join(root, object.name), object, report)
    if (object !== data || bytes === undefined) continue
    const file = orDamage(report, object.name, () => openSealedFile(new Uint8Array(bytes)))
    if (file !== undefined && file.rowCount !== rowCount)
      report.damage(
        `${object.name} has ${count(file.rowCount, 'row')}, the manifest says ${rowCount}`,
      )
    for (const { attnum, typeName } of file?.columns ?? []) types.set(attnum, typeName)
  }
  return types
}

/** @returns its content when it is what the manifest says. @param absence 'may be gone': a later manifest has taken its place */
export async function checkObject(
  path: string,
  { name, bytes, checksum }: ObjectReference,
  report: Report,
  absence: 'may be gone' | 'must be there' = 'may be gone',
): Promise<Buffer | undefined> {
  const size = await stat(path).then(
    (found) => found.size,
    () => undefined,
  )
  if (size === undefined) {
    if (absence === 'may be gone') report.line(`  ${name} is not there`)
    else report.damage(`${name} is not there`)
    return undefined
  }
  const content = await readFile(path)
  if (size === bytes && checksumOf(content) === checksum) return content
  report.damage(
    `${name} has ${count(size, 'byte')} and CRC-32 ${checksumOf(content)}, the manifest says ${bytes} and ${checksum}`,
  )
  return undefined
}
