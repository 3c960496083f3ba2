import type pg from 'pg'
import type { Bank } from './check-bank.js'

/** The tables of the bank, and its accounts with what they have at first. */
export async function createBank(client: pg.Client, bank: Bank, shards: number): Promise<void> {
  const withShards = shards > 1 ? `WITH (shards = ${shards})` : ''
  for (const columns of [
    'accounts (id int PRIMARY KEY, balance bigint NOT NULL)',
    'transfers (id bigint PRIMARY KEY, legs int NOT NULL)',
    'legs (transfer bigint, account int NOT NULL, delta int NOT NULL, PRIMARY KEY (transfer, account))',
    'lists (key int PRIMARY KEY, elements int[] NOT NULL)',
    'committed_lists (key int PRIMARY KEY, elements int[] NOT NULL)',
  ])
    await client.query(`CREATE TABLE ${columns} ${withShards}`)
  await client.query(
    'INSERT INTO accounts SELECT n, $2::bigint FROM generate_series(1, $1::int) AS n',
    [bank.accountCount, bank.initialBalance],
  )
}
