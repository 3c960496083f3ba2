/** Objects of the server stay while something copies them: a hold that is renewed until it is released. */
import { randomUUID } from 'node:crypto'
import type { Client } from 'pg'
import { callServer } from '#cli/backup/server.js'

const holdSeconds = 120
const renewMs = 30_000

/** @param client in nobody else's hands: renewals go over it while others wait on another */
export async function whileHeld<T>(client: Client, work: () => Promise<T>): Promise<T> {
  const id = randomUUID()
  const renew = () => callServer(client, 'hold_objects', id, holdSeconds)
  await renew()
  let failure: unknown
  const timer = setInterval(() => {
    renew().catch((error: unknown) => {
      failure ??= error
    })
  }, renewMs)
  try {
    const result = await work()
    // What was copied last may have gone while nobody held it.
    if (failure !== undefined) throw failure
    return result
  } finally {
    clearInterval(timer)
    await callServer(client, 'release_objects', id).catch(() => {})
  }
}
