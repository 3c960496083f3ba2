/**
 * `elanus backup`: a running database, standalone or cluster, into a folder (docs/backup.md).
 *
 * 1. The server's objects are held. 2. It says what the database is at one timestamp. 3. Objects that the folder lacks are copied.
 * 4. The backup's own object is written: from here on there is a backup.
 */
import { describeFlags, type Flag, flagText, readArguments } from '#cli/arguments.js'
import { asOf } from '#cli/backup/as-of.js'
import { objectsOf, putBackup, readBackup, storedName } from '#cli/backup/backup-manifest.js'
import { copyObjects, sizesOf } from '#cli/backup/copy-objects.js'
import { whileHeld } from '#cli/backup/hold.js'
import { openFolder, withScratch } from '#cli/backup/open-folder.js'
import { callServer, connect, serverFlags } from '#cli/backup/server.js'
import { verifyBackup } from '#cli/backup/verify.js'
import { ProgressBar, print } from '#cli/print.js'
import { ConfigError } from '#config.js'
import type { SnapshotFacts } from '#nodes/proxy/backup/facts.js'
import type { ChannelSnapshot } from '#nodes/streaming/contract.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const flags: Readonly<Record<string, Flag>> = {
  to: { placeholder: 'DIR | s3://…', meaning: 'the folder of backups; as --objects of the server' },
  verify: { placeholder: undefined, meaning: 'read everything again and compare checksums' },
  ...serverFlags,
  help: { placeholder: undefined, meaning: 'this page' },
}

export async function backup(args: readonly string[]): Promise<void> {
  const given = readArguments(args, flags)
  if (given.flags.has('help')) return print(`elanus backup\n\n${describeFlags(flags)}`)
  const target = flagText(given, 'to')
  if (target === undefined) throw new ConfigError('--to says where: a directory or s3://BUCKET/…')
  const client = await connect(given)
  const holder = await connect(given)
  try {
    await withScratch((scratch) =>
      whileHeld(holder, async () => {
        const folder = await openFolder(target, scratch)
        const facts = (await callServer(client, 'take_snapshot')) as SnapshotFacts
        const source = await openFolder(flagText(given, 'objects') ?? facts.objects, scratch)
        const name = await copyAll(facts, source.objects, folder.objects, scratch)
        await source.close()
        if (given.flags.has('verify')) {
          const { manifest } = await readBackup(folder.objects, name)
          await verifyBackup(folder.objects, manifest)
        }
        await folder.close()
        print(`${name}: ${describe(facts)}`)
      }),
    )
  } finally {
    await client.end()
    await holder.end()
  }
}

async function copyAll(
  facts: SnapshotFacts,
  source: ObjectStore,
  folder: ObjectStore,
  scratch: string,
): Promise<string> {
  const present = await sizesOf(folder, storedName(''))
  const shards: ChannelSnapshot[] = []
  const made = new Set<string>()
  for (const shard of facts.shards) {
    const segments: ChannelSnapshot['segments'][number][] = []
    for (const segment of shard.segments) {
      const then = await asOf(source, segment, facts.timestamp)
      if (then === undefined) continue
      segments.push(then.manifest)
      if (then.made === undefined) continue
      await folder.put(storedName(then.made.object.name), then.made.bytes)
      made.add(then.made.object.name)
    }
    shards.push({ ...shard, segments })
  }
  const copies = objectsOf({ shards })
    .filter(({ name }) => !made.has(name))
    .map((object) => ({ object, to: storedName(object.name) }))
  const total = copies.reduce((sum, { object }) => sum + object.bytes, 0)
  const bar = new ProgressBar('copying', total, 'bytes')
  const report = await copyObjects(source, folder, copies, present, scratch, bar)
  bar.finish()
  print(`${report.copiedBytes} bytes copied, ${report.skippedBytes} were there already`)
  return await putBackup(folder, { ...facts, shards }, new Date())
}

function describe({ tables, shards }: SnapshotFacts): string {
  const segments = shards.reduce((sum, shard) => sum + shard.segments.length, 0)
  return `${tables.length} tables, ${segments} segments`
}
