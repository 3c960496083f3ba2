/** One connection: transfers, sums and lists, until the server is gone. Every operation is in the history. */
import pg from 'pg'
import type { Random } from '../differential/random.js'
import type { Lists } from './lists.js'
import type { Leg, ListStep, Operation, Outcome, Recorder, Totals } from './recorder.js'

export interface Shared {
  readonly recorder: Recorder
  readonly random: Random
  readonly accountCount: number
  readonly lists: Lists
  nextTransfer(): number
  readonly acknowledged: { count: number }
  /** Errors no application should see. */
  readonly unexpected: string[]
}

/** Whether the server has answered that it did not do it; else nobody knows. */
class Settled extends Error {}

/** Acts as `process` until the connection breaks or `isOver`. */
export async function runClient(
  config: pg.ClientConfig,
  process: number,
  shared: Shared,
  isOver: () => boolean,
): Promise<void> {
  const client = new pg.Client(config)
  client.on('error', () => {})
  try {
    await client.connect()
    while (!isOver()) await operate(client, process, shared)
  } catch {
    // The connection is gone: the run starts another process in its place.
  } finally {
    await client.end().catch(() => {})
  }
}

function operate(client: pg.Client, process: number, shared: Shared): Promise<void> {
  const kind = shared.random.integer(0, 99)
  if (kind < 25) return transfer(client, process, shared, 'locking')
  if (kind < 45) return transfer(client, process, shared, 'snapshot')
  if (kind < 60) return total(client, process, shared)
  if (kind < 88) return lists(client, process, shared, 'snapshot')
  return lists(client, process, shared, 'committed')
}

async function transfer(
  client: pg.Client,
  process: number,
  shared: Shared,
  how: 'locking' | 'snapshot',
): Promise<void> {
  const { random } = shared
  const accounts = distinct(random, shared.accountCount, random.integer(2, 4))
  // As an application does: the same transfer, decided anew, until it goes through.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const legs = legsOf(random, accounts)
    const id = shared.nextTransfer()
    const operation: Operation = { f: 'transfer', value: { id, legs } }
    const outcome = await record(client, process, shared, operation, async (commit) => {
      await client.query(
        `BEGIN ISOLATION LEVEL ${how === 'locking' ? 'READ COMMITTED' : 'REPEATABLE READ'}`,
      )
      const found = await client.query<{ id: number; balance: string }>(
        `SELECT id, balance FROM accounts WHERE id = ANY($1::int[]) ORDER BY id ${how === 'locking' ? 'FOR UPDATE' : ''}`,
        [accounts],
      )
      const balances = new Map(found.rows.map((row) => [row.id, Number(row.balance)]))
      if (balances.size !== accounts.length)
        throw new Error(`found ${balances.size} of ${accounts.length} accounts`)
      const computed = random.chance(0.5)
      for (const [account, delta] of legs) {
        // The value computed here loses an update wherever isolation does not hold.
        const { rowCount } = await (computed
          ? client.query('UPDATE accounts SET balance = $2 WHERE id = $1', [
              account,
              (balances.get(account) ?? 0) + delta,
            ])
          : client.query('UPDATE accounts SET balance = balance + $2 WHERE id = $1', [
              account,
              delta,
            ]))
        if (rowCount !== 1) throw new Error(`UPDATE of account ${account} changed ${rowCount} rows`)
      }
      await client.query('INSERT INTO transfers (id, legs) VALUES ($1, $2)', [id, legs.length])
      await client.query(
        `INSERT INTO legs (transfer, account, delta) SELECT $1, a, d FROM unnest($2::int[], $3::int[]) AS u(a, d)`,
        [id, legs.map(([account]) => account), legs.map(([, delta]) => delta)],
      )
      if (random.chance(0.05)) {
        await client.query('ROLLBACK')
        throw new Settled('rolled back')
      }
      await commit()
      return operation
    })
    if (outcome !== 'fail') return
  }
}

async function total(client: pg.Client, process: number, shared: Shared): Promise<void> {
  const sum = async (): Promise<Totals> => {
    const { rows } = await client.query<{ balance: string; accounts: string }>(
      'SELECT sum(balance) AS balance, count(*) AS accounts FROM accounts',
    )
    return { balance: Number(rows[0]?.balance), accounts: Number(rows[0]?.accounts) }
  }
  await record(client, process, shared, { f: 'total', value: [] }, async (commit) => {
    if (shared.random.chance(0.4)) return { f: 'total', value: [await sum()] }
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    const first = await sum()
    const { rows } = await client.query<{ id: number; balance: string }>(
      'SELECT id, balance FROM accounts',
    )
    const second: Totals = {
      balance: rows.reduce((whole, row) => whole + Number(row.balance), 0),
      accounts: new Set(rows.map((row) => row.id)).size,
    }
    const legs = await client.query<{ delta: string; n: string }>(
      'SELECT coalesce(sum(delta), 0) AS delta, count(*) AS n FROM legs',
    )
    const said = await client.query<{ n: string }>(
      'SELECT coalesce(sum(legs), 0) AS n FROM transfers',
    )
    await commit()
    return {
      f: 'total',
      value: [
        first,
        {
          ...second,
          delta: Number(legs.rows[0]?.delta),
          legsFound: Number(legs.rows[0]?.n),
          legsSaid: Number(said.rows[0]?.n),
        },
      ],
    }
  })
}

async function lists(
  client: pg.Client,
  process: number,
  shared: Shared,
  level: 'snapshot' | 'committed',
): Promise<void> {
  const { random } = shared
  const table = level === 'snapshot' ? 'lists' : 'committed_lists'
  const steps = shared.lists.plan(random, level)
  await record(client, process, shared, { f: 'lists', level, value: steps }, async (commit) => {
    await client.query(
      `BEGIN ISOLATION LEVEL ${level === 'snapshot' ? 'REPEATABLE READ' : 'READ COMMITTED'}`,
    )
    const done: ListStep[] = []
    for (const step of steps) {
      const [action, key] = step
      if (action === 'append') {
        await client.query(
          `INSERT INTO ${table} (key, elements) VALUES ($1, ARRAY[$2::int]) ON CONFLICT (key) DO UPDATE SET elements = ${table}.elements || $2::int`,
          [key, step[2]],
        )
        done.push(step)
      } else {
        const { rows } = await client.query<{ elements: number[] }>(
          `SELECT elements FROM ${table} WHERE key = $1`,
          [key],
        )
        done.push(['r', key, rows[0]?.elements ?? []])
      }
    }
    await commit()
    return { f: 'lists', level, value: done }
  })
}

/**
 * Records what `act` does. It calls `commit` for the deciding statement: when the connection breaks before that the
 * operation has failed for certain, after it nobody knows.
 * @throws Error when the connection is gone
 */
async function record(
  client: pg.Client,
  process: number,
  { recorder, unexpected, acknowledged }: Shared,
  operation: Operation,
  act: (commit: () => Promise<void>) => Promise<Operation>,
): Promise<Outcome> {
  let deciding = false
  recorder.invoke(process, operation)
  try {
    const done = await act(async () => {
      deciding = true
      const { command } = await client.query('COMMIT')
      if (command !== 'COMMIT') throw new Settled(`COMMIT answered ${command}`)
    })
    recorder.complete(process, 'ok', done)
    acknowledged.count += 1
    return 'ok'
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (isRefusal(error)) {
      recorder.complete(process, 'fail', operation, message)
      if (!isExpected(error)) unexpected.push(`${operation.f}: ${describe(error)}`)
      if (!(error instanceof Settled)) await client.query('ROLLBACK')
      return 'fail'
    }
    recorder.complete(process, deciding ? 'info' : 'fail', operation, message)
    throw error
  }
}

/** An answer of the server about the statement, not the end of it or of the connection. */
function isRefusal(error: unknown): boolean {
  if (error instanceof Settled) return true
  if (!(error instanceof pg.DatabaseError))
    return error instanceof Error && /^(found|UPDATE of) /.test(error.message)
  return error.code?.startsWith('57P') !== true && error.code?.startsWith('08') !== true
}

/** Serialization failure, deadlock, and a snapshot from before the VACUUM FULL that runs beside (docs/sql.md): tried again. */
function isExpected(error: unknown): boolean {
  if (error instanceof Settled) return true
  return error instanceof pg.DatabaseError && ['40001', '40P01', '72000'].includes(error.code ?? '')
}

function describe(error: unknown): string {
  return error instanceof pg.DatabaseError ? `${error.code} ${error.message}` : String(error)
}

function distinct(random: Random, max: number, count: number): number[] {
  const found = new Set<number>()
  while (found.size < count) found.add(random.integer(1, max))
  return [...found]
}

/** Adds up to nothing. */
function legsOf(random: Random, accounts: readonly number[]): Leg[] {
  const deltas = accounts.slice(1).map((account): Leg => [account, random.integer(1, 20)])
  const sum = deltas.reduce((whole, [, delta]) => whole + delta, 0)
  return [[accounts[0] ?? 0, -sum], ...deltas]
}
