/**
 * `elanus inspect PATH`: what a file of the data directory says, in words. Reads only, so it may look over the shoulder of a
 * running server; what the server writes at that moment may appear as a torn end of a log file. Damage is said where it is
 * found, and once more at the end; the exit code is 1 then.
 */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describeFlags, type Flag, flagNumber, flagText, readArguments } from '#cli/arguments.js'
import { inspectBackup } from '#cli/inspect/inspect-backup.js'
import { inspectChannelState, inspectLock } from '#cli/inspect/inspect-channel-state.js'
import { inspectHnsw } from '#cli/inspect/inspect-hnsw.js'
import { inspectLog } from '#cli/inspect/inspect-log.js'
import { inspectManifest } from '#cli/inspect/inspect-manifest.js'
import { inspectMeta } from '#cli/inspect/inspect-meta.js'
import { inspectMetaCopy } from '#cli/inspect/inspect-meta-copy.js'
import { inspectSegment } from '#cli/inspect/inspect-segment.js'
import { inspectSnapshot } from '#cli/inspect/inspect-snapshot.js'
import { type FileKind, kindOfFile } from '#cli/inspect/kind-of-file.js'
import type { InspectOptions } from '#cli/inspect/options.js'
import { type Report, WrittenReport } from '#cli/inspect/report.js'
import { formatTable, print } from '#cli/print.js'
import { ConfigError } from '#config.js'

const flags: Readonly<Record<string, Flag>> = {
  rows: {
    placeholder: 'N',
    meaning: 'rows to print of a segment (10), or of each batch in a log (0)',
  },
  limit: { placeholder: 'N', meaning: 'frames, keys, or parts of a backup to print at most (50)' },
  position: { placeholder: 'P', meaning: 'log: only the record at this position' },
  key: { placeholder: 'PREFIX', meaning: 'meta store and its copy: only keys that begin so' },
  verify: { placeholder: undefined, meaning: 'folder: read every file, say only what is damaged' },
  help: { placeholder: undefined, meaning: 'this page' },
}

const help = `elanus inspect PATH

PATH is a data directory, its meta store, or one of its files: log (*.log, state), segment or deletes (*.arrow),
index (*.hnsw), manifest (*.json), copy of the meta store (meta-copy/), or a snapshot of the embedded PostgreSQL
(build/snapshot); or a folder of backups, or one of them (backup-*.json). Checksums are verified.

${describeFlags(flags)}`

export async function inspect(args: readonly string[]): Promise<void> {
  const given = readArguments(args, flags)
  const [path] = given.rest
  if (given.flags.has('help')) return print(help)
  if (path === undefined) throw new ConfigError(`name a file or folder\n\n${help}`)
  const isFolder = (await stat(path)).isDirectory()
  const isStore = isFolder && (await readdir(path)).includes('data.mdb')
  if (isFolder && !isStore && !given.flags.has('verify')) return listDirectory(path)
  const position = flagNumber(given, 'position', Number.NaN)
  const isLog = !isFolder && (await kindOfFile(path)) === 'log file'
  const isOne = !Number.isNaN(position)
  const options: InspectOptions = {
    limit: flagNumber(given, 'limit', 50),
    rows: flagNumber(given, 'rows', isLog && !isOne ? 0 : 10),
    position: isOne ? position : undefined,
    key: flagText(given, 'key') ?? '',
  }
  const damages =
    isFolder && !isStore
      ? await verifyDirectory(path, options)
      : await inspectFile(path, isStore ? 'meta store' : await kindOfFile(path), options, print)
  if (damages.length === 0) return
  const [first] = damages
  throw new Error(
    damages.length === 1
      ? `damaged: ${first}`
      : `${damages.length} places are damaged: ${damages.join('; ')}`,
  )
}

/** @returns what is damaged. @throws ConfigError when it is none of ours */
export async function inspectFile(
  path: string,
  kind: FileKind,
  options: InspectOptions,
  write: (line: string) => void,
): Promise<readonly string[]> {
  const report = new WrittenReport(write)
  try {
    await inspectKind(path, kind, options, report)
  } catch (error) {
    if (error instanceof ConfigError || (error instanceof Error && 'syscall' in error)) throw error
    // Bytes that lead a decoder astray are damage too, whatever it stumbles over.
    report.damage(`cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
  return report.damages
}

function inspectKind(
  path: string,
  kind: FileKind,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  switch (kind) {
    case 'log file':
      return inspectLog(path, options, report)
    case 'log channel state':
      return inspectChannelState(path, report)
    case 'Arrow file':
      return inspectSegment(path, options, report)
    case 'HNSW index':
      return inspectHnsw(path, report)
    case 'manifest':
      return inspectManifest(path, report)
    case 'backup':
      return inspectBackup(path, options, report)
    case 'copy of the meta store':
      return inspectMetaCopy(path, options, report)
    case 'meta store':
      return inspectMeta(path, options, report)
    case 'snapshot':
      return inspectSnapshot(path, options, report)
    case 'lock file':
      return inspectLock(path, report)
    case 'file':
      throw new ConfigError(`${path} is none of our files`)
  }
}

interface ListedFile {
  readonly path: string
  readonly kind: FileKind
}

async function listFiles(folder: string): Promise<readonly ListedFile[]> {
  const files: ListedFile[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) files.push({ path, kind: await kindOfFile(path) })
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function listDirectory(folder: string): Promise<void> {
  const rows: string[][] = []
  for (const { path, kind } of await listFiles(folder)) {
    const { size, mtime } = await stat(path)
    rows.push([kind, size.toLocaleString('en'), mtime.toISOString(), path])
  }
  print(formatTable(['kind', 'bytes', 'changed', 'path'], rows))
}

/** @returns what is damaged, with paths */
async function verifyDirectory(
  folder: string,
  options: InspectOptions,
): Promise<readonly string[]> {
  const damages: string[] = []
  let verified = 0
  for (const { path, kind } of await listFiles(folder)) {
    if (kind === 'file') continue
    verified += 1
    for (const damage of await inspectFile(path, kind, options, () => {})) {
      print(`${path}: ${damage}`)
      damages.push(`${path}: ${damage}`)
    }
  }
  print(`${verified} files read, ${damages.length} places damaged`)
  return damages
}
