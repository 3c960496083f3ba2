/**
 * `elanus inspect PATH`: what a file of the data directory says, in words. Reads only, so it may look over the shoulder of a
 * running server; what the server writes at that moment may appear as damage at the end of a log file.
 */
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describeFlags, type Flag, flagNumber, readArguments } from '#cli/arguments.js'
import { inspectHnsw } from '#cli/inspect/inspect-hnsw.js'
import { inspectLog } from '#cli/inspect/inspect-log.js'
import { inspectManifest } from '#cli/inspect/inspect-manifest.js'
import { inspectMeta } from '#cli/inspect/inspect-meta.js'
import { inspectSegment } from '#cli/inspect/inspect-segment.js'
import { formatTable, print } from '#cli/print.js'
import { ConfigError } from '#config.js'

const flags: Readonly<Record<string, Flag>> = {
  limit: { placeholder: 'N', meaning: 'records or rows to print at most (50)' },
  help: { placeholder: undefined, meaning: 'this page' },
}

const help = `elanus inspect PATH

PATH is a data directory, its meta store, or one of its files: log (*.log), segment or deletes (*.arrow),
index (*.hnsw), manifest (*.json).

${describeFlags(flags)}`

type FileKind = 'log file' | 'Arrow file' | 'HNSW index' | 'manifest' | 'LMDB file' | 'file'

export async function inspect(args: readonly string[]): Promise<void> {
  const given = readArguments(args, flags)
  const [path] = given.rest
  if (given.flags.has('help')) return print(help)
  if (path === undefined) throw new ConfigError(`name a file or folder\n\n${help}`)
  const limit = flagNumber(given, 'limit', 50)
  if ((await stat(path)).isDirectory()) {
    if ((await readdir(path)).includes('data.mdb')) return inspectMeta(path, limit)
    return listDirectory(path)
  }
  switch (await kindOf(path)) {
    case 'log file':
      return inspectLog(path, limit)
    case 'Arrow file':
      return inspectSegment(path, limit)
    case 'HNSW index':
      return inspectHnsw(path)
    case 'manifest':
      return inspectManifest(path)
    case 'LMDB file':
      return inspectMeta(path, limit)
    case 'file':
      throw new ConfigError(`${path} is none of our files`)
  }
}

/** By content where the format has a magic number, else by name. */
async function kindOf(path: string): Promise<FileKind> {
  if (path.endsWith('.mdb')) return 'LMDB file'
  const handle = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0)
    const head = buffer.toString('latin1', 0, bytesRead)
    if (head === 'ELANUSWL') return 'log file'
    if (head.startsWith('ARROW1')) return 'Arrow file'
    if (path.endsWith('.hnsw')) return 'HNSW index'
    if (path.endsWith('.json')) return 'manifest'
    return 'file'
  } finally {
    await handle.close()
  }
}

async function listDirectory(folder: string): Promise<void> {
  const rows: string[][] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const { size, mtime } = await stat(path)
    rows.push([await kindOf(path), size.toLocaleString('en'), mtime.toISOString(), path])
  }
  rows.sort((a, b) => ((a[3] ?? '') < (b[3] ?? '') ? -1 : 1))
  print(formatTable(['kind', 'bytes', 'changed', 'path'], rows))
}
