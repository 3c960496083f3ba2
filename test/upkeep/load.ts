/** Rows for the suites here: made from their id, so that a reader can tell what should be there. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { TestServer } from '../server.js'

export async function connect(server: TestServer): Promise<pg.Client> {
  const { host, port, user, database } = server
  const client = new pg.Client({ host, port, user, database })
  // A server that is killed.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Neighbours in id are not neighbours here: each number is a hash of id and place. */
export function vectorOf(id: number, dimensions: number): number[] {
  return Array.from({ length: dimensions }, (_, i) => {
    let hash = Math.imul(id * 1_000_003 + i + 1, 0x9e3779b1) >>> 0
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 0
    return Math.round(((hash ^ (hash >>> 13)) / 2 ** 32) * 1e4) / 1e4
  })
}

/** COPY of rows (id, embedding). */
export async function copyRows(
  client: pg.Client,
  table: string,
  from: number,
  to: number,
  dimensions: number,
): Promise<void> {
  function* lines(): Generator<string> {
    for (let id = from; id < to; id += 1) yield `${id}\t[${vectorOf(id, dimensions).join()}]\n`
  }
  await pipeline(Readable.from(lines()), client.query(copyFrom(`COPY ${table} (id, e) FROM STDIN`)))
}

/** As du counts: blocks, not lengths. */
/** @param under what counts: this folder of it, which may not be there */
export async function bytesOnDisk(folder: string, under = ''): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !`${entry.parentPath}/`.startsWith(join(folder, under))) continue
    // Files may go while they are counted.
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined)
    bytes += (found?.blocks ?? 0) * 512
  }
  return bytes
}
