/** What POSIX asks for so that files are there after loss of power: the file's bytes and, apart from them, its name. */
import { writevSync } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

/** Makes names made, renamed and removed in the directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the directory and those above it that are missing, durably. */
export async function makeDirectory(path: string): Promise<void> {
  const firstMade = await mkdir(path, { recursive: true, mode: 0o700 })
  if (firstMade === undefined) return
  const top = dirname(resolve(firstMade))
  for (let at = resolve(path); at !== top; at = dirname(at)) await syncDirectory(dirname(at))
}

/** Replaces a small file: after a crash it holds the old content or the new one. */
export async function replaceFile(path: string, content: Uint8Array | string): Promise<void> {
  const temporary = `${path}.tmp`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

/** Writes all buffers one after the other from `offset` on; the system may take them in parts. */
export async function writeAll(
  handle: FileHandle,
  buffers: readonly Uint8Array[],
  offset: number,
  inline: boolean,
): Promise<void> {
  let rest = buffers.filter((buffer) => buffer.length > 0)
  let at = offset
  while (rest.length > 0) {
    const written = inline
      ? writevSync(handle.fd, rest, at)
      : (await handle.writev(rest, at)).bytesWritten
    at += written
    rest = withoutFirst(rest, written)
  }
}

function withoutFirst(buffers: readonly Uint8Array[], byteCount: number): Uint8Array[] {
  let skip = byteCount
  const rest: Uint8Array[] = []
  for (const buffer of buffers) {
    if (skip >= buffer.length) {
      skip -= buffer.length
      continue
    }
    rest.push(skip > 0 ? buffer.subarray(skip) : buffer)
    skip = 0
  }
  return rest
}

/** Fills `target` from the file; fewer bytes only at the end of the file. @returns bytes read */
export async function readAll(
  handle: FileHandle,
  target: Uint8Array,
  offset: number,
): Promise<number> {
  let filled = 0
  while (filled < target.length) {
    const { bytesRead } = await handle.read(target, filled, target.length - filled, offset + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}
