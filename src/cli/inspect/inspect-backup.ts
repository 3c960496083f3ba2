/** What a backup says of itself, and whether the objects beside it are what it says. */
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import {
  type BackupManifest,
  decodeBackup,
  objectsOf,
  storedName,
} from '#cli/backup/backup-manifest.js'
import { checksumOf } from '#engine/segment/checksum.js'
import { count, describeTimestamp, shorten } from './describe.js'
import { describePassword } from './describe-meta-value.js'
import { checkObject, describeManifest } from './inspect-manifest.js'
import type { InspectOptions } from './options.js'
import { orDamage, type Report } from './report.js'

const statementCharactersMax = 200

export async function inspectBackup(
  path: string,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  const bytes = await readFile(path)
  report.line(`backup, ${count(bytes.length, 'byte')}, CRC-32 ${checksumOf(bytes)}`)
  const manifest = orDamage(report, 'backup', () => decodeBackup(basename(path), bytes))
  if (manifest === undefined) return
  const { ddl, tables, shards, sequences, passwords } = manifest
  report.line(`  format ${manifest.formatVersion}, taken at ${manifest.takenAt}`)
  report.line(`  everything up to ${describeTimestamp(manifest.timestamp)}`)
  const list = listed(options.limit, report)
  list('DDL', 'statement', ddl, ({ sql, settings }) => [
    `${settings.user}: ${shorten(sql.replaceAll(/\s+/g, ' '), statementCharactersMax)}`,
  ])
  list('tables', 'table', tables, (table) => describeTable(table, shards))
  list('shards', 'shard', shards, ({ tableId, shard, nextRowId, segments }) => [
    `shard ${shard} of table ${tableId}: ${count(segments.length, 'segment')}, next row id ${nextRowId}`,
    ...segments.flatMap((segment) => describeManifest(segment).map((line) => `  ${line}`)),
  ])
  list('sequences', 'sequence', sequences, ({ schemaName, name, lastValue, isCalled }) => [
    `${schemaName}.${name}: ${isCalled ? 'last value' : 'begins at'} ${lastValue}`,
  ])
  list('passwords', 'password', passwords, ({ role, verifier }) => [
    `${role}: ${describePassword(Buffer.from(verifier))}`,
  ])
  await checkObjects(dirname(path), manifest, report)
}

function listed(limit: number, report: Report) {
  return <T>(
    title: string,
    one: string,
    values: readonly T[],
    describe: (value: T) => readonly string[],
  ): void => {
    if (values.length === 0) return
    report.line(`  ${title}`)
    for (const value of values.slice(0, limit)) {
      for (const line of describe(value)) report.line(`    ${line}`)
    }
    const left = values.length - limit
    if (left > 0) report.line(`    … and ${count(left, one)} more (--limit N)`)
  }
}

function describeTable(
  { oid, schemaName, name, incarnation, shardCount, indexes }: BackupManifest['tables'][number],
  shards: BackupManifest['shards'],
): readonly string[] {
  const segments = shards.filter(({ tableId }) => tableId === oid).flatMap((one) => one.segments)
  const rowCount = segments.reduce((sum, segment) => sum + segment.rowCount, 0)
  return [
    `${schemaName}.${name} (${oid}), incarnation ${incarnation}, ${count(shardCount, 'shard')}: ` +
      `${count(rowCount, 'row')} in ${count(segments.length, 'segment')}, deleted ones among them`,
    ...indexes.map((index) => `  index ${index.name} (${index.oid})`),
  ]
}

/** The backup's file alone may have been copied here. */
async function checkObjects(
  folder: string,
  manifest: BackupManifest,
  report: Report,
): Promise<void> {
  const objects = new Map(objectsOf(manifest).map((object) => [object.name, object]))
  const bytes = [...objects.values()].reduce((sum, object) => sum + object.bytes, 0)
  const total = `${count(objects.size, 'object')}, ${count(bytes, 'byte')}`
  const isThere = await stat(join(folder, storedName(''))).then(
    () => true,
    () => false,
  )
  if (!isThere) {
    report.line(`  ${total}: not beside it`)
    return
  }
  let right = 0
  for (const object of objects.values()) {
    const place = join(folder, storedName(object.name))
    if ((await checkObject(place, object, report, 'must be there')) !== undefined) right += 1
  }
  if (right === objects.size) report.line(`  ${total}: all are there, all checksums are right`)
}
