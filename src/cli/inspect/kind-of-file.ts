import { open } from 'node:fs/promises'
import { basename } from 'node:path'

export type FileKind =
  | 'log file'
  | 'log channel state'
  | 'Arrow file'
  | 'HNSW index'
  | 'manifest'
  | 'backup'
  | 'copy of the meta store'
  | 'meta store'
  | 'snapshot'
  | 'lock file'
  | 'file'

const headBytes = 8

/** By name where the name decides, else by content; a damaged beginning is recognised by its name. */
export async function kindOfFile(path: string): Promise<FileKind> {
  const name = basename(path)
  if (name === 'data.mdb') return 'meta store'
  if (name === 'elanus.pid') return 'lock file'
  if (name === 'state') return 'log channel state'
  const handle = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0)
    const head = buffer.toString('latin1', 0, bytesRead)
    if (head === 'ELANUSWL') return 'log file'
    if (head.startsWith('ARROW1')) return 'Arrow file'
    if (head === 'ELNSHNSW') return 'HNSW index'
    if (head.startsWith('elans')) return 'snapshot'
  } finally {
    await handle.close()
  }
  if (/^[0-9a-f]{16}\.log$/.test(name)) return 'log file'
  if (name.endsWith('.arrow')) return 'Arrow file'
  if (name.endsWith('.hnsw')) return 'HNSW index'
  if (name.endsWith('.snapshot')) return 'snapshot'
  if (/^backup-.*-[0-9a-f]{8}\.json$/.test(name)) return 'backup'
  if (/^[0-9]{12}-(base|changes)-[0-9a-f]{8}\.json$/.test(name)) return 'copy of the meta store'
  if (name.endsWith('.json')) return 'manifest'
  return 'file'
}
