/** Rows of a result in pieces: row-limited portals and cursors. */
import type { ResponseWriter } from '#net/pgwire/session.js'
import type { RunningPortal } from '#nodes/proxy/session/prepared.js'
import type { Result, RowChunk } from '#nodes/proxy/statements/result.js'

export function startPortal(result: Result): RunningPortal {
  const { rows } = result
  const iterator =
    Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]()
  return { result, iterator, rest: undefined, done: false, sent: 0 }
}

/**
 * The next chunk of at most `limit` rows; undefined at the end.
 * @param limit 0 = as many as come
 */
export async function nextRows(
  portal: RunningPortal,
  limit: number,
): Promise<RowChunk | undefined> {
  let chunk = portal.rest
  portal.rest = undefined
  while (chunk === undefined || chunk.count === 0) {
    if (portal.done) return undefined
    const next = portal.iterator.next()
    const step = next instanceof Promise ? await next : next
    if (step.done === true) {
      portal.done = true
      return undefined
    }
    chunk = step.value
  }
  if (limit > 0 && chunk.count > limit) {
    const [head, rest] = splitRows(chunk, limit)
    portal.rest = rest
    chunk = head
  }
  portal.sent += chunk.count
  return chunk
}

/**
 * @param limit 0: all
 * @returns false when the limit was reached before the end
 */
export async function writeRows(
  portal: RunningPortal,
  limit: number,
  out: ResponseWriter,
): Promise<boolean> {
  let written = 0
  for (;;) {
    if (limit > 0 && written >= limit) return (portal.rest?.count ?? 0) === 0 && portal.done
    const chunk = await nextRows(portal, limit > 0 ? limit - written : 0)
    if (chunk === undefined) return true
    out.raw(chunk.data)
    written += chunk.count
    if (out.full) await out.drain()
  }
}

/** Ends the producer: what it holds is released. */
export async function closePortal(portal: RunningPortal | undefined): Promise<void> {
  if (portal === undefined || portal.done) return
  portal.done = true
  portal.rest = undefined
  await portal.iterator.return?.()
}

/** DataRow: 'D', int32 length (without the type byte), … */
function splitRows(chunk: RowChunk, count: number): readonly [RowChunk, RowChunk] {
  const view = new DataView(chunk.data.buffer, chunk.data.byteOffset, chunk.data.byteLength)
  let at = 0
  for (let i = 0; i < count; i += 1) at += 1 + view.getUint32(at + 1)
  return [
    { data: chunk.data.subarray(0, at), count },
    { data: chunk.data.subarray(at), count: chunk.count - count },
  ]
}
