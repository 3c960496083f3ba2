/**
 * What a backup says of itself (docs/formats/backup.md): catalog, segments and the objects that hold them. One JSON object per
 * backup, named by its time and checksum; the objects lie beside it under the names that they had, shared by all backups of a folder.
 */
import { crc32 } from 'node:zlib'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { namedObjects } from '#engine/segment/object-names.js'
import type { SnapshotFacts } from '#nodes/proxy/backup/facts.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const kind = 'elanus backup'
const formatVersion = 1
const prefix = 'backup-'

export interface BackupManifest extends Omit<SnapshotFacts, 'objects'> {
  readonly kind: typeof kind
  readonly formatVersion: typeof formatVersion
  /** ISO 8601, of the machine that took it; `timestamp` is what counts. */
  readonly takenAt: string
}

export interface StoredBackup {
  /** Of its object. */
  readonly name: string
  readonly manifest: BackupManifest
}

/** Where an object of a database lies in a backup. */
export function storedName(objectName: string): string {
  return `objects/${objectName}`
}

/** Every object that the backup needs, once. */
export function objectsOf({ shards }: Pick<BackupManifest, 'shards'>): readonly ObjectReference[] {
  return shards.flatMap(({ segments }) => segments.flatMap(objectsOfSegment))
}

export function objectsOfSegment(manifest: SegmentManifest): readonly ObjectReference[] {
  const all = [manifest.data, manifest.deletes, ...manifest.indexes.map(({ object }) => object)]
  const names = new Set(namedObjects(manifest))
  return all.filter((object) => object !== undefined).filter(({ name }) => names.has(name))
}

/** Last of all, when every object is there. @returns its name */
export async function putBackup(
  store: ObjectStore,
  facts: SnapshotFacts,
  takenAt: Date,
): Promise<string> {
  const { objects: _, ...rest } = facts
  const manifest: BackupManifest = { kind, formatVersion, takenAt: takenAt.toISOString(), ...rest }
  const bytes = new TextEncoder().encode(JSON.stringify(manifest))
  const name = `${prefix}${takenAt.toISOString().replace(/[-:]/g, '')}-${checksumOf(bytes)}.json`
  await store.put(name, bytes)
  return name
}

/** Oldest first. */
export async function listBackups(store: ObjectStore): Promise<readonly string[]> {
  const names: string[] = []
  for await (const { name } of store.list(prefix)) names.push(name)
  return names.sort()
}

/** @param wanted its name or how that begins; the newest unless given. @throws Error in words for who typed it */
export async function readBackup(store: ObjectStore, wanted?: string): Promise<StoredBackup> {
  const names = await listBackups(store)
  const matching = wanted === undefined ? names : names.filter((one) => one.startsWith(wanted))
  const name = matching.at(-1)
  if (name === undefined) {
    const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`
    throw new Error(`no backup${wanted === undefined ? '' : ` "${wanted}"`} was found: ${there}`)
  }
  const bytes = await store.get(name)
  if (bytes === undefined) throw new Error(`${name} has gone`)
  return { name, manifest: decodeBackup(name, bytes) }
}

/** @throws Error when it is not what was written, or of another version */
export function decodeBackup(name: string, bytes: Uint8Array): BackupManifest {
  const [, checksum] = /-([0-9a-f]{8})\.json$/.exec(name) ?? []
  if (checksum !== checksumOf(bytes)) throw new Error(`${name} is damaged: its checksum differs`)
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as BackupManifest
  if (manifest.kind !== kind) throw new Error(`${name} is not a backup`)
  if (manifest.formatVersion !== formatVersion) {
    throw new Error(`${name} has version ${manifest.formatVersion}, this program reads 1`)
  }
  return manifest
}

function checksumOf(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, '0')
}
