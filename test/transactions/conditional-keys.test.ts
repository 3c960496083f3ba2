/** Unique indexes that are partial or over expressions are kept, in one shard and in several. */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let one: pg.Client
let two: pg.Client

async function failure(work: Promise<unknown>): Promise<pg.DatabaseError | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return error as pg.DatabaseError
  }
}

async function sqlState(work: Promise<unknown>): Promise<string | undefined> {
  return (await failure(work))?.code
}

beforeAll(async () => {
  server = await startServer()
  one = new pg.Client({ connectionString: server.url })
  two = new pg.Client({ connectionString: server.url })
  await one.connect()
  await two.connect()
})

afterAll(async () => {
  await one?.end()
  await two?.end()
  await server?.stop()
})

describe.each([1, 3])('with %i shards', (shards) => {
  beforeEach(async () => {
    await one.query(`
      DROP TABLE IF EXISTS people;
      CREATE TABLE people (id int PRIMARY KEY, email text, team int, active bool DEFAULT true) WITH (shards = ${shards});
      CREATE UNIQUE INDEX people_email ON people (lower(email));
      CREATE UNIQUE INDEX people_team ON people (team) WHERE active;
      INSERT INTO people VALUES (1, 'Ann@x.org', 1), (2, 'bob@x.org', 2), (3, NULL, NULL), (4, NULL, NULL)`)
  })

  test('a key that another row has is refused in PostgreSQL’s words', async () => {
    const refused = await failure(one.query(`INSERT INTO people VALUES (5, 'ANN@X.org', 5)`))
    expect(refused).toMatchObject({
      code: '23505',
      message: 'duplicate key value violates unique constraint "people_email"',
      detail: 'Key (lower(email))=(ann@x.org) already exists.',
      constraint: 'people_email',
      table: 'people',
    })
    expect(await sqlState(one.query(`UPDATE people SET team = 1 WHERE id = 2`))).toBe('23505')
    expect(await sqlState(one.query(`UPDATE people SET email = 'Bob@x.org' WHERE id = 2`))).toBe(
      undefined,
    )
  })

  test('rows outside the condition do not count', async () => {
    await one.query(`INSERT INTO people VALUES (6, 'f@x.org', 1, false), (7, 'g@x.org', 1, false)`)
    expect(await sqlState(one.query('UPDATE people SET active = true WHERE id = 6'))).toBe('23505')
    await one.query('UPDATE people SET active = false WHERE id = 1')
    await one.query('UPDATE people SET active = true WHERE id = 6')
  })

  test('within a transaction, and between two', async () => {
    await one.query('BEGIN')
    await one.query(`INSERT INTO people VALUES (8, 'h@x.org', 8)`)
    const second = sqlState(two.query(`INSERT INTO people VALUES (9, 'H@x.org', 9)`))
    expect(await Promise.race([second, pause(150, 'waiting')])).toBe('waiting')
    expect(await sqlState(one.query(`INSERT INTO people VALUES (10, 'H@X.ORG', 10)`))).toBe('23505')
    await one.query('ROLLBACK')
    expect(await second).toBeUndefined()
  })

  test('an upsert finds the row', async () => {
    await one.query(
      `INSERT INTO people VALUES (11, 'ANN@x.org', 11) ON CONFLICT (lower(email)) DO UPDATE SET team = excluded.team`,
    )
    await one.query(
      `INSERT INTO people VALUES (12, 'l@x.org', 2) ON CONFLICT (team) WHERE active DO UPDATE SET email = excluded.email`,
    )
    const { rows } = await one.query('SELECT id, email, team FROM people WHERE id < 3 ORDER BY id')
    expect(rows).toEqual([
      { id: 1, email: 'Ann@x.org', team: 11 },
      { id: 2, email: 'l@x.org', team: 2 },
    ])
  })

  test('an index over rows that are not unique is not made', async () => {
    await one.query(`UPDATE people SET active = false`)
    await one.query(`DROP INDEX people_team; UPDATE people SET team = 7 WHERE id <= 2`)
    expect(await sqlState(one.query('CREATE UNIQUE INDEX ON people (team) WHERE NOT active'))).toBe(
      '23505',
    )
    await one.query('CREATE UNIQUE INDEX ON people (team) WHERE active')
  })

  test('a changed primary key finds its rows', async () => {
    await one.query(`
      ALTER TABLE people DROP CONSTRAINT people_pkey;
      DELETE FROM people WHERE team IS NULL;
      INSERT INTO people SELECT i, i || '@y.org', i FROM generate_series(100, 140) i`)
    await one.query('ALTER TABLE people ADD PRIMARY KEY (team)')
    for (const team of [1, 2, 100, 117, 140]) {
      const { rowCount } = await one.query('SELECT FROM people WHERE team = $1', [team])
      expect(rowCount).toBe(1)
    }
    expect(await sqlState(one.query(`INSERT INTO people VALUES (1, 'z@z', 117, false)`))).toBe(
      '23505',
    )
  })
})
