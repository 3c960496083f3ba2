/** Two sessions at once, as applications have them: isolation levels, row locks, and what either is told. */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let one: pg.Client
let two: pg.Client

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  return client
}

async function sqlState(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

async function values(client: pg.Client, sql: string): Promise<unknown[]> {
  const { rows } = await client.query({ text: sql, rowMode: 'array' })
  return rows.map(([value]: unknown[]) => value)
}

/** Whether it is still waiting some time later. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  const waiting = Symbol('waiting')
  return (await Promise.race([work, pause(150, waiting)])) === waiting
}

describe.each([
  [1, 1],
  [3, 1],
  [3, 2],
])('with %i shards over %i log channels', (shards, logChannels) => {
  beforeAll(async () => {
    server = await startServer({ args: ['--log-channels', String(logChannels)] })
  })

  afterAll(async () => {
    await server?.stop()
  })

  beforeEach(async () => {
    one = await connect()
    two = await connect()
    await one.query(`
      DROP TABLE IF EXISTS child, account;
      CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL) WITH (shards = ${shards});
      INSERT INTO account SELECT i, 100 FROM generate_series(1, 10) i;
      CREATE TABLE child (id int PRIMARY KEY, account int REFERENCES account) WITH (shards = ${shards})`)
  })

  afterEach(async () => {
    await one.end()
    await two.end()
  })

  test('READ COMMITTED sees what others commit between statements, REPEATABLE READ does not', async () => {
    await one.query('BEGIN')
    await two.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    expect(await values(two, 'SELECT sum(balance)::int FROM account')).toEqual([1000])
    const three = await connect()
    await three.query('UPDATE account SET balance = balance + 1')
    await three.end()
    expect(await values(one, 'SELECT sum(balance)::int FROM account')).toEqual([1010])
    expect(await values(two, 'SELECT sum(balance)::int FROM account')).toEqual([1000])
    expect(await values(two, 'SELECT balance FROM account WHERE id = 3')).toEqual([100])
    await two.query('COMMIT')
    expect(await values(two, 'SELECT sum(balance)::int FROM account')).toEqual([1010])
    await one.query('COMMIT')
  })

  test('an UPDATE that meets a concurrent change waits and works on the new row', async () => {
    await one.query('BEGIN')
    await one.query('UPDATE account SET balance = balance - 10 WHERE id = 1')
    const second = two.query('UPDATE account SET balance = balance - 20 WHERE id = 1')
    expect(await waits(second)).toBe(true)
    await one.query('COMMIT')
    expect((await second).rowCount).toBe(1)
    expect(await values(one, 'SELECT balance FROM account WHERE id = 1')).toEqual([70])
  })

  test('under REPEATABLE READ it is told to try again', async () => {
    await two.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await two.query('SELECT 1 FROM account')
    await one.query('UPDATE account SET balance = 0 WHERE id = 1')
    expect(await sqlState(two.query('UPDATE account SET balance = 5 WHERE id = 1'))).toBe('40001')
    await two.query('ROLLBACK')
  })

  test('a row whose condition is no longer met is left alone', async () => {
    await one.query('BEGIN')
    await one.query('UPDATE account SET balance = 0 WHERE id = 2')
    const second = two.query('UPDATE account SET balance = -1 WHERE id = 2 AND balance = 100')
    expect(await waits(second)).toBe(true)
    await one.query('COMMIT')
    expect((await second).rowCount).toBe(0)
  })

  test('FOR UPDATE holds the rows it returns and no others', async () => {
    await one.query('BEGIN')
    expect(await values(one, 'SELECT id FROM account ORDER BY id LIMIT 1 FOR UPDATE')).toEqual([1])
    await two.query('UPDATE account SET balance = 7 WHERE id = 2')
    const second = two.query('UPDATE account SET balance = 7 WHERE id = 1')
    expect(await waits(second)).toBe(true)
    await one.query('COMMIT')
    await second
  })

  test('NOWAIT and lock_timeout give 55P03', async () => {
    await one.query('BEGIN')
    await one.query('SELECT 1 FROM account WHERE id = 1 FOR NO KEY UPDATE')
    expect(await sqlState(two.query('SELECT 1 FROM account WHERE id = 1 FOR UPDATE NOWAIT'))).toBe(
      '55P03',
    )
    await two.query(`SET lock_timeout = '50ms'`)
    expect(await sqlState(two.query('DELETE FROM account WHERE id = 1'))).toBe('55P03')
    await one.query('ROLLBACK')
    expect((await two.query('DELETE FROM account WHERE id = 1')).rowCount).toBe(1)
  })

  test('SKIP LOCKED gives each worker jobs of its own', async () => {
    const next = 'SELECT id FROM account ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED'
    await one.query('BEGIN')
    await two.query('BEGIN')
    expect(await values(one, next)).toEqual([1, 2])
    expect(await values(two, next)).toEqual([3, 4])
    await one.query('DELETE FROM account WHERE id <= 2')
    await one.query('COMMIT')
    await two.query('ROLLBACK')
    expect(await values(two, next)).toEqual([3, 4])
  })

  test('FOR SHARE is shared, and keeps writers out', async () => {
    await one.query('BEGIN')
    await two.query('BEGIN')
    await one.query('SELECT 1 FROM account WHERE id = 5 FOR SHARE')
    await two.query('SELECT 1 FROM account WHERE id = 5 FOR SHARE')
    await two.query('COMMIT')
    const second = two.query('UPDATE account SET balance = 1 WHERE id = 5')
    expect(await waits(second)).toBe(true)
    await one.query('COMMIT')
    await second
  })

  test('of two that wait for each other one is told 40P01', async () => {
    await one.query('BEGIN')
    await two.query('BEGIN')
    await one.query('UPDATE account SET balance = 1 WHERE id = 1')
    await two.query('UPDATE account SET balance = 2 WHERE id = 2')
    const first = sqlState(one.query('UPDATE account SET balance = 1 WHERE id = 2'))
    await pause(100)
    const second = sqlState(two.query('UPDATE account SET balance = 2 WHERE id = 1'))
    expect(await second).toBe('40P01')
    await two.query('ROLLBACK')
    expect(await first).toBeUndefined()
    await one.query('COMMIT')
  })

  test('also when one waits for a row and the other for an advisory lock', async () => {
    await one.query('BEGIN')
    await one.query('UPDATE account SET balance = 1 WHERE id = 1')
    await two.query('SELECT pg_advisory_lock(7)')
    const first = sqlState(one.query('SELECT pg_advisory_xact_lock(7)'))
    await pause(100)
    expect(await sqlState(two.query('UPDATE account SET balance = 2 WHERE id = 1'))).toBe('40P01')
    await two.query('SELECT pg_advisory_unlock(7)')
    expect(await first).toBeUndefined()
    await one.query('ROLLBACK')
  })

  test('ROLLBACK TO gives back what was locked after the savepoint, a failure everything', async () => {
    const take = (id: number) =>
      sqlState(two.query(`SELECT 1 FROM account WHERE id = ${id} FOR UPDATE NOWAIT`))
    await one.query('BEGIN')
    await one.query('UPDATE account SET balance = 0 WHERE id = 1')
    await one.query('SAVEPOINT a')
    await one.query('UPDATE account SET balance = 0 WHERE id = 2')
    await one.query('SELECT pg_advisory_xact_lock(8)')
    expect(await take(2)).toBe('55P03')
    await one.query('ROLLBACK TO a')
    expect(await take(1)).toBe('55P03')
    expect(await take(2)).toBeUndefined()
    expect(await values(two, 'SELECT pg_try_advisory_xact_lock(8)')).toEqual([true])
    expect(await sqlState(one.query('SELECT 1 / 0'))).toBe('22012')
    // The savepoint's part has failed, not what was before.
    expect(await take(1)).toBe('55P03')
    await one.query('ROLLBACK')
    await one.query('BEGIN')
    await one.query('UPDATE account SET balance = 0 WHERE id = 1')
    expect(await sqlState(one.query('SELECT 1 / 0'))).toBe('22012')
    expect(await take(1)).toBeUndefined()
    await one.query('ROLLBACK')
  })

  test('a parent that goes while its child comes: one of the two is refused', async () => {
    await one.query('BEGIN')
    await one.query('INSERT INTO child VALUES (1, 7)')
    await two.query('DELETE FROM account WHERE id = 7')
    expect(['23503', '40001']).toContain(await sqlState(one.query('COMMIT')))
    await two.query('BEGIN')
    await two.query('DELETE FROM account WHERE id = 8')
    await one.query('INSERT INTO child VALUES (2, 8)').catch(() => {})
    const committed = await sqlState(two.query('COMMIT'))
    const orphans = await values(
      one,
      'SELECT count(*)::int FROM child LEFT JOIN account a ON a.id = account WHERE a.id IS NULL',
    )
    expect(orphans).toEqual([0])
    expect([undefined, '23503', '40001']).toContain(committed)
  })

  test('rows and references that came and went within a transaction are nobody else’s business', async () => {
    await one.query('BEGIN')
    await one.query('INSERT INTO child VALUES (3, 9)')
    await one.query('DELETE FROM child WHERE id = 3')
    await one.query('DELETE FROM account WHERE id = 9')
    await one.query('COMMIT')
    expect(await values(one, 'SELECT count(*)::int FROM account')).toEqual([9])
  })

  test('isolation is fixed by the first query', async () => {
    const level = 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ'
    await one.query('BEGIN')
    await one.query('SET TRANSACTION READ ONLY')
    await one.query(level)
    await one.query('SELECT 1')
    await one.query(level)
    expect(await sqlState(one.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED'))).toBe(
      '25001',
    )
    await one.query('ROLLBACK')
    await one.query('BEGIN READ ONLY')
    await one.query('SELECT 1')
    expect(await sqlState(one.query('SET TRANSACTION READ WRITE'))).toBe('25001')
    await one.query('ROLLBACK')
    await one.query('BEGIN')
    await one.query('SAVEPOINT s')
    expect(await sqlState(one.query(level))).toBe('25001')
    await one.query('ROLLBACK')
  })

  test('SERIALIZABLE says once what it is', async () => {
    const notices: (string | undefined)[] = []
    one.on('notice', (notice) => notices.push(notice.message))
    for (let i = 0; i < 2; i += 1) {
      await one.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
      await one.query('COMMIT')
    }
    expect(notices).toHaveLength(1)
    expect(notices[0]).toContain('snapshot isolation')
  })

  test('elanus.read_time shows how it was, and changes nothing', async () => {
    const [before] = await values(one, 'SELECT now()::text')
    await pause(20)
    await one.query('UPDATE account SET balance = 0')
    await one.query('DELETE FROM account WHERE id > 5')
    await one.query(`SET elanus.read_time = '${before}'`)
    expect(await values(one, 'SELECT sum(balance)::int FROM account')).toEqual([1000])
    expect(await values(one, 'SELECT balance FROM account WHERE id = 9')).toEqual([100])
    expect(await sqlState(one.query('DELETE FROM account'))).toBe('25006')
    await one.query(`SET elanus.read_time = '-1 day'`)
    expect(await sqlState(one.query('SELECT * FROM account'))).toBe('72000')
    await one.query('RESET elanus.read_time')
    expect(await values(one, 'SELECT count(*)::int FROM account')).toEqual([5])
  })

  test.each(['strong', 'bounded', 'session', 'eventual'])(
    'at consistency level %s a session changes rows as they are, and sees its own changes at session',
    async (level) => {
      await one.query(`SET elanus.consistency = '${level}'`)
      for (let i = 0; i < 5; i += 1) {
        await two.query('UPDATE account SET balance = balance + 1 WHERE id = 4')
        await one.query('UPDATE account SET balance = balance + 1 WHERE id = 4')
        if (level === 'strong' || level === 'session') {
          expect(await values(one, 'SELECT balance FROM account WHERE id = 4')).toEqual([
            102 + 2 * i,
          ])
        }
      }
      expect(await values(two, 'SELECT balance FROM account WHERE id = 4')).toEqual([110])
    },
  )
})
