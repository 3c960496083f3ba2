import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export type Child = ChildProcessByStdio<Writable, Readable, null>

/**
 * Starts a TypeScript file of ours in a process of its own.
 * @param fileBlocksMax bound of the size of files it writes, in KiB (ulimit -f): writing past it fails as on a full disk.
 */
export function startChild(url: URL, args: readonly string[], fileBlocksMax?: number): Child {
  const node = ['--import', 'tsx', '--conditions=source', fileURLToPath(url), ...args]
  const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit']
  if (fileBlocksMax === undefined) return spawn(process.execPath, node, { stdio })
  const script = `ulimit -f ${fileBlocksMax}; exec "$0" "$@"`
  return spawn('bash', ['-c', script, process.execPath, ...node], { stdio })
}

/** All that the child prints until it ends. */
export async function outputOf(child: Child): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of child.stdout) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString('utf8')
}
