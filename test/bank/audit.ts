/** Reads everything while nobody writes: what is there since the last audit, all balances, and counts of all. */
import type pg from 'pg'
import type { Audit, Leg } from './recorder.js'

export async function audit(client: pg.Client, from: number): Promise<Audit> {
  const transfers = await client.query<{ id: string; legs: number }>(
    'SELECT id, legs FROM transfers WHERE id >= $1',
    [from],
  )
  const legs = await client.query<{ transfer: string; account: number; delta: number }>(
    'SELECT transfer, account, delta FROM legs WHERE transfer >= $1',
    [from],
  )
  const balances = await client.query<{ id: number; balance: string }>(
    'SELECT id, balance FROM accounts',
  )
  const counts = await client.query<{ transfers: string; legs: string }>(
    'SELECT (SELECT count(*) FROM transfers) AS transfers, (SELECT count(*) FROM legs) AS legs',
  )
  return {
    from,
    transfers: transfers.rows.map(({ id, legs: legCount }) => [Number(id), legCount]),
    legs: legs.rows.map(({ transfer, account, delta }) => [
      Number(transfer),
      ...legOf(account, delta),
    ]),
    balances: balances.rows.map(({ id, balance }) => [id, Number(balance)]),
    transferCount: Number(counts.rows[0]?.transfers),
    legCount: Number(counts.rows[0]?.legs),
  }
}

function legOf(account: number, delta: number): Leg {
  return [account, delta]
}
