/**
 * `elanus restore`: a backup into a running database, empty or not (docs/backup.md).
 *
 * 1. Names are compared. 2. The DDL of then runs, in one transaction: tables with new OIDs. 3. Objects are copied to where the
 * new tables' objects lie, under new segment ids. 4. Shard by shard they become the tables' rows. 5. Sequences and passwords.
 */
import type { Client } from 'pg'
import { describeFlags, type Flag, flagText, readArguments } from '#cli/arguments.js'
import { type BackupManifest, readBackup, storedName } from '#cli/backup/backup-manifest.js'
import { type Copy, copyObjects } from '#cli/backup/copy-objects.js'
import { whileHeld } from '#cli/backup/hold.js'
import { type Move, moveSegment } from '#cli/backup/move-segment.js'
import { openFolder, withScratch } from '#cli/backup/open-folder.js'
import { callServer, connect, serverFlags } from '#cli/backup/server.js'
import { verifyBackup } from '#cli/backup/verify.js'
import { ProgressBar, print } from '#cli/print.js'
import { ConfigError } from '#config.js'
import type { DatabaseFacts, TableFacts } from '#nodes/proxy/backup/facts.js'
import type { AttachedShard } from '#nodes/streaming/contract.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const flags: Readonly<Record<string, Flag>> = {
  from: { placeholder: 'DIR | s3://…', meaning: 'the folder of backups' },
  backup: { placeholder: 'NAME', meaning: 'which one, or how its name begins (the newest)' },
  replace: { placeholder: undefined, meaning: 'drop tables that have the names of those restored' },
  verify: { placeholder: undefined, meaning: 'only read the backup and compare checksums' },
  ...serverFlags,
  help: { placeholder: undefined, meaning: 'this page' },
}

export async function restore(args: readonly string[]): Promise<void> {
  const given = readArguments(args, flags)
  if (given.flags.has('help')) return print(`elanus restore\n\n${describeFlags(flags)}`)
  const from = flagText(given, 'from')
  if (from === undefined) throw new ConfigError('--from says where: a directory or s3://BUCKET/…')
  await withScratch(async (scratch) => {
    const folder = await openFolder(from, scratch)
    const { name, manifest } = await readBackup(folder.objects, flagText(given, 'backup'))
    if (given.flags.has('verify')) {
      await verifyBackup(folder.objects, manifest)
      return print(`${name}: everything is there and as it was written`)
    }
    const client = await connect(given)
    const holder = await connect(given)
    try {
      await whileHeld(holder, async () => {
        const { objects } = (await callServer(client, 'describe_database')) as DatabaseFacts
        const target = await openFolder(flagText(given, 'objects') ?? objects, scratch)
        await makeTables(client, manifest, given.flags.has('replace'))
        await fillTables(client, manifest, folder.objects, target.objects, scratch)
        await target.close()
        await restoreRest(client, manifest)
      })
      print(`${name}: ${manifest.tables.length} tables restored`)
    } finally {
      await client.end()
      await holder.end()
      await folder.close()
    }
  })
}

/** @throws Error 42P07 when names are taken */
async function makeTables(
  client: Client,
  { tables, ddl }: BackupManifest,
  replaces: boolean,
): Promise<void> {
  const names = tables.map(quotedName)
  const taken: string[] = []
  for (const name of names) {
    const { rows } = await client.query('SELECT to_regclass($1) IS NOT NULL AS taken', [name])
    if (rows[0]?.taken === true) taken.push(name)
  }
  if (taken.length > 0 && !replaces) {
    throw new Error(
      `relation ${taken.join(', ')} already exists (42P07); --replace drops what has the name of a restored table`,
    )
  }
  if (taken.length > 0) await client.query(`DROP TABLE ${taken.join(', ')} CASCADE`)
  for (const batch of cutAfterEnumValues(ddl)) {
    await callServer(client, 'replay_ddl', JSON.stringify(batch))
  }
}

/** A value added to an enum cannot be used in the transaction that adds it. */
function cutAfterEnumValues(ddl: BackupManifest['ddl']): BackupManifest['ddl'][] {
  const batches: BackupManifest['ddl'][number][][] = [[]]
  for (const entry of ddl) {
    batches.at(-1)?.push(entry)
    if (/^\s*alter\s+type\b[\s\S]*\badd\s+value\b/i.test(entry.sql)) batches.push([])
  }
  return batches.filter(({ length }) => length > 0)
}

async function fillTables(
  client: Client,
  manifest: BackupManifest,
  folder: ObjectStore,
  target: ObjectStore,
  scratch: string,
): Promise<void> {
  const { tables } = (await callServer(client, 'describe_database')) as DatabaseFacts
  const count = manifest.shards.reduce((sum, { segments }) => sum + segments.length, 0)
  const ids =
    count === 0 ? [] : ((await callServer(client, 'allocate_segments', count)) as number[])
  const shards: AttachedShard[] = []
  const copies: Copy[] = []
  for (const shard of manifest.shards) {
    const move = moveOf(manifest, shard.tableId, tables)
    const segments = shard.segments.map((segment) => {
      const moved = moveSegment(segment, move, ids.shift() ?? 0)
      for (const { object, to } of moved.copies) {
        copies.push({ object: { ...object, name: storedName(object.name) }, to })
      }
      return moved.manifest
    })
    const { shard: number, nextRowId } = shard
    const readableFrom = manifest.timestamp
    shards.push({ tableId: move.table.oid, shard: number, nextRowId, readableFrom, segments })
  }
  const total = copies.reduce((sum, { object }) => sum + object.bytes, 0)
  const bar = new ProgressBar('copying', total, 'bytes')
  await copyObjects(folder, target, copies, new Map(), scratch, bar)
  bar.finish()
  const attaching = new ProgressBar('attaching', shards.length, 'shards')
  for (const [i, shard] of shards.entries()) {
    await callServer(client, 'attach_segments', JSON.stringify({ shards: [shard] }))
    attaching.update(i + 1)
  }
  attaching.finish()
}

function moveOf(manifest: BackupManifest, tableId: number, tables: readonly TableFacts[]): Move {
  const before = manifest.tables.find(({ oid }) => oid === tableId)
  const table = tables.find(
    ({ schemaName, name }) => schemaName === before?.schemaName && name === before.name,
  )
  if (before === undefined || table === undefined) {
    throw new Error(`table ${before?.name ?? tableId} of the backup was not made`)
  }
  if (before.shardCount !== table.shardCount) {
    throw new Error(`table ${before.name} has ${table.shardCount} shards, not ${before.shardCount}`)
  }
  const indexes = new Map<number, number>()
  for (const { oid, name } of before.indexes) {
    const now = table.indexes.find((index) => index.name === name)
    if (now !== undefined) indexes.set(oid, now.oid)
  }
  return { table, indexes }
}

async function restoreRest(
  client: Client,
  { sequences, passwords }: BackupManifest,
): Promise<void> {
  for (const sequence of sequences) {
    await client.query('SELECT setval($1::regclass, $2::bigint, $3)', [
      quotedName(sequence),
      sequence.lastValue,
      sequence.isCalled,
    ])
  }
  const { rows } = await client.query('SELECT rolname FROM pg_roles')
  const roles = new Set(rows.map(({ rolname }) => String(rolname)))
  for (const { role, verifier } of passwords) {
    if (!roles.has(role)) continue
    const name = client.escapeIdentifier(role)
    await client.query(`ALTER ROLE ${name} PASSWORD ${client.escapeLiteral(verifier)}`)
  }
}

function quotedName({ schemaName, name }: { schemaName: string; name: string }): string {
  const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
  return `${quote(schemaName)}.${quote(name)}`
}
