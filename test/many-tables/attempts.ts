/** A statement on a connection of its own, again and again until it is acknowledged. */
import pg from 'pg'

export interface Address {
  readonly host: string
  readonly port: number
}

const pauseMs = 20
const patienceMs = 180_000

export async function connect({ host, port }: Address): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' })
  // A killed server: whoever waits for an answer hears of it.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** @returns milliseconds from now until `work` succeeded. @throws the last error after three minutes */
export async function untilDone(
  address: Address,
  work: (client: pg.Client) => Promise<unknown>,
): Promise<number> {
  const beganMs = performance.now()
  for (;;) {
    let client: pg.Client | undefined
    try {
      client = await connect(address)
      await work(client)
      return performance.now() - beganMs
    } catch (error) {
      if (performance.now() - beganMs > patienceMs) throw error
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    } finally {
      await client?.end().catch(() => {})
    }
  }
}
