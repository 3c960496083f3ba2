/** psql: a first walk through the product, as somebody with pgvector's README beside them would take it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { hasCommand, runCommand } from './walk-results.js'

const missing = hasCommand('psql', '--version') ? undefined : 'there is no psql'
let server: TestServer | undefined

/** Unaligned rows, messages in the order they come. */
async function psql(sql: string, ...options: readonly string[]): Promise<string> {
  if (server === undefined) throw new Error('there is no server')
  const { host, port } = server
  const { output } = await runCommand('psql', [
    ...['-h', host, '-p', String(port), '-U', 'postgres', '-X', '-v', 'VERBOSITY=verbose'],
    ...options,
    ...['-c', sql, 'postgres'],
  ])
  // The file and line of PostgreSQL's source differ from version to version.
  return output.replace(/^LOCATION:.*\n/gm, '')
}

const rows = (sql: string): Promise<string> => psql(sql, '-A', '-t', '-q')

beforeAll(async () => {
  if (missing === undefined) server = await startServer()
})

afterAll(() => server?.stop())

// One story: every test stands on what the ones before it have made.
describe.skipIf(missing !== undefined)('psql', () => {
  test('the extension and a table', async () => {
    expect(await psql('CREATE EXTENSION vector')).toBe('CREATE EXTENSION\n')
    expect(await psql('CREATE EXTENSION IF NOT EXISTS vector')).toMatch(
      /already exists, skipping\nCREATE EXTENSION\n$/,
    )
    const created = await psql(`CREATE TABLE items (
      id bigserial PRIMARY KEY,
      name text NOT NULL,
      price numeric(10, 2) CHECK (price >= 0),
      created timestamptz DEFAULT '2026-01-02 03:04:05+00',
      meta jsonb DEFAULT '{}',
      embedding vector(3))`)
    expect(created).toBe('CREATE TABLE\n')
  })

  test('inserts', async () => {
    expect(
      await psql(`INSERT INTO items (name, price, meta, embedding) VALUES
        ('apple', 1.20, '{"color": "red"}', '[1,2,3]'),
        ('pear', 2.5, '{"color": "green"}', '[4,5,6]'),
        ('plum', 0.99, NULL, '[-1,0.5,2]')`),
    ).toBe('INSERT 0 3\n')
    expect(
      await rows(
        "INSERT INTO items (name, embedding) SELECT 'g' || i, ARRAY[i, i * 2, i * 4]::vector FROM generate_series(1, 3) i RETURNING id, name, embedding, meta, created AT TIME ZONE 'UTC'",
      ),
    ).toBe(
      [1, 2, 3]
        .map((i) => `${3 + i}|g${i}|[${i},${2 * i},${4 * i}]|{}|2026-01-02 03:04:05\n`)
        .join(''),
    )
  })

  const searches = async (): Promise<void> => {
    expect(
      await rows(
        "SELECT name, embedding <-> '[1,2,3]' FROM items ORDER BY embedding <-> '[1,2,3]' LIMIT 3",
      ),
    ).toBe('apple|0\ng1|1\nplum|2.692582403567252\n')
    expect(
      await rows(
        "SELECT name, (embedding <#> '[1,2,3]') * -1 FROM items ORDER BY embedding <#> '[1,2,3]' LIMIT 2",
      ),
    ).toBe('g3|51\ng2|34\n')
    expect(
      await rows(
        "SELECT name, round((1 - (embedding <=> '[1,2,4]'))::numeric, 6) FROM items ORDER BY embedding <=> '[1,2,4]', id LIMIT 4",
      ),
    ).toBe('g1|1.000000\ng2|1.000000\ng3|1.000000\napple|0.991460\n')
    expect(
      await rows(
        "SELECT name, embedding <+> '[1,2,3]' FROM items ORDER BY embedding <+> '[1,2,3]' LIMIT 3",
      ),
    ).toBe('apple|0\ng1|1\nplum|4.5\n')
    expect(
      await rows(
        "SELECT name FROM items WHERE meta->>'color' = 'green' OR price < 1 ORDER BY embedding <-> '[1,2,3]' LIMIT 5",
      ),
    ).toBe('plum\npear\n')
  }

  test('searches without an index', searches)

  test('searches with indexes', async () => {
    expect(await psql('CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)')).toBe(
      'CREATE INDEX\n',
    )
    expect(
      await psql(
        'CREATE INDEX items_cosine ON items USING hnsw (embedding vector_cosine_ops) WITH (m = 8, ef_construction = 32)',
      ),
    ).toBe('CREATE INDEX\n')
    await searches()
    expect(
      await rows("EXPLAIN SELECT id FROM items ORDER BY embedding <-> '[1,2,3]' LIMIT 2"),
    ).toMatch(/hnsw/)
  })

  test('\\d+, \\di, \\dx, \\dt', async () => {
    const described = await psql('\\d+ items')
    for (const line of [
      /Table "public\.items"/,
      /id +\| bigint +\| +\| not null \| nextval\('items_id_seq'::regclass\)/,
      /price +\| numeric\(10,2\)/,
      /created +\| timestamp with time zone \|.*'2026-01-02 03:04:05\+00'::timestamp with time zone/,
      /meta +\| jsonb .*'\{\}'::jsonb/,
      /embedding +\| vector\(3\)/,
      /"items_pkey" PRIMARY KEY, btree \(id\)/,
      /"items_embedding_idx" hnsw \(embedding vector_l2_ops\)/,
      /"items_cosine" hnsw \(embedding vector_cosine_ops\) WITH \(m='8', ef_construction='32'\)/,
      /"items_price_check" CHECK \(price >= 0::numeric\)/,
    ]) {
      expect(described).toMatch(line)
    }
    expect(await psql('\\di', '-A', '-t')).toBe(
      ['items_cosine', 'items_embedding_idx', 'items_pkey']
        .map((name) => `public|${name}|index|postgres|items\n`)
        .join(''),
    )
    expect(await psql('\\dx', '-A', '-t')).toMatch(
      /^vector\|0\.\d+\.\d+\|public\|vector data type/m,
    )
    expect(await psql('\\dt', '-A', '-t')).toBe('public|items|table|postgres\n')
    expect(await psql('\\ds', '-A', '-t')).toBe('public|items_id_seq|sequence|postgres\n')
    for (const command of [
      '\\dn',
      '\\du',
      '\\dT',
      '\\df',
      '\\dv',
      '\\do',
      '\\dp',
      '\\db',
      '\\dA',
      '\\dC',
      '\\dD',
      '\\d',
    ]) {
      expect(await psql(command)).not.toMatch(/ERROR/)
    }
  })

  test('join, CTE, window, GROUP BY', async () => {
    await psql(
      'CREATE TABLE orders (id serial PRIMARY KEY, item_id bigint REFERENCES items ON DELETE CASCADE, n int)',
    )
    await psql('INSERT INTO orders (item_id, n) VALUES (1, 5), (1, 7), (2, 1)')
    expect(
      await rows(
        'SELECT i.name, sum(o.n) FROM items i JOIN orders o ON o.item_id = i.id GROUP BY i.name ORDER BY 1',
      ),
    ).toBe('apple|12\npear|1\n')
    expect(
      await rows(`WITH near AS (SELECT id, name FROM items ORDER BY embedding <-> '[1,2,3]' LIMIT 2)
        SELECT n.name, o.n FROM near n LEFT JOIN orders o ON o.item_id = n.id ORDER BY 1, 2`),
    ).toBe('apple|5\napple|7\ng1|\n')
    expect(
      await rows(
        'SELECT name, price, rank() OVER (ORDER BY price DESC) FROM items WHERE price IS NOT NULL ORDER BY 3',
      ),
    ).toBe('pear|2.50|1\napple|1.20|2\nplum|0.99|3\n')
    expect(
      await rows(
        "SELECT meta->>'color', count(*), avg(price)::numeric(10, 3) FROM items GROUP BY 1 ORDER BY 1 NULLS LAST",
      ),
    ).toBe('green|1|2.500\nred|1|1.200\n|4|0.990\n')
    expect(
      await rows(
        "SELECT avg(embedding), count(*) FROM items WHERE name LIKE 'g%' HAVING count(*) > 1",
      ),
    ).toBe('[2,4,8]|3\n')
  })

  test('UPDATE, DELETE, upsert', async () => {
    expect(
      await psql(
        "UPDATE items SET price = price * 2, embedding = embedding + '[1,1,1]' WHERE name = 'pear' RETURNING price, embedding",
        '-A',
        '-t',
      ),
    ).toBe('5.00|[5,6,7]\nUPDATE 1\n')
    expect(await psql("DELETE FROM items WHERE name LIKE 'g%'")).toBe('DELETE 3\n')
    expect(
      await psql(
        `INSERT INTO items (id, name, embedding) VALUES (1, 'apple', '[9,9,9]')
          ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding RETURNING id, name, price, embedding`,
        '-A',
        '-t',
      ),
    ).toBe('1|apple|1.20|[9,9,9]\nINSERT 0 1\n')
    expect(await psql("INSERT INTO items (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING")).toBe(
      'INSERT 0 0\n',
    )
    expect(await rows("SELECT name FROM items ORDER BY embedding <-> '[9,9,8]'")).toBe(
      'apple\npear\nplum\n',
    )
    expect(await psql('DELETE FROM items WHERE id = 1')).toBe('DELETE 1\n')
    expect(await rows('SELECT count(*) FROM orders')).toBe('1\n')
  })

  test('errors in the words of PostgreSQL and pgvector', async () => {
    expect(await psql("INSERT INTO items (name, embedding) VALUES ('bad', '[1,2]')")).toBe(
      'ERROR:  22000: expected 3 dimensions, not 2\n',
    )
    expect(await psql("SELECT * FROM items ORDER BY embedding <-> '[1,2]' LIMIT 1")).toBe(
      'ERROR:  22000: different vector dimensions 3 and 2\n',
    )
    expect(await psql("INSERT INTO items (name, price) VALUES ('neg', -1)")).toMatch(
      /^ERROR: {2}23514: new row for relation "items" violates check constraint "items_price_check"\nDETAIL: {2}Failing row contains \(.*neg, -1\.00, /,
    )
    expect(await psql("INSERT INTO items (id, name) VALUES (2, 'dup')")).toBe(
      'ERROR:  23505: duplicate key value violates unique constraint "items_pkey"\nDETAIL:  Key (id)=(2) already exists.\nSCHEMA NAME:  public\nTABLE NAME:  items\nCONSTRAINT NAME:  items_pkey\n',
    )
    expect(await psql('INSERT INTO orders (item_id, n) VALUES (999, 1)')).toMatch(
      /^ERROR: {2}23503: insert or update on table "orders" violates foreign key constraint "orders_item_id_fkey"\nDETAIL: {2}Key \(item_id\)=\(999\) is not present in table "items"\.\n/,
    )
    expect(await psql('SELECT nope FROM items')).toMatch(
      /^ERROR: {2}42703: column "nope" does not exist\nLINE 1: SELECT nope FROM items\n {15}\^\n/,
    )
  })

  test('\\copy, out and in', async () => {
    expect(
      await psql('\\copy (select id, name, embedding from items order by id) to stdout csv header'),
    ).toBe('id,name,embedding\n2,pear,"[5,6,7]"\n3,plum,"[-1,0.5,2]"\n')
    expect(await psql('COPY items (name) TO STDOUT')).toMatch(/^(pear\nplum|plum\npear)\n$/)
  })

  test('a script in one transaction', async () => {
    const script =
      "BEGIN; INSERT INTO items (name) VALUES ('tx'); SAVEPOINT a; DELETE FROM items; ROLLBACK TO a; COMMIT;"
    expect(await psql(script)).not.toMatch(/ERROR/)
    expect(await rows("SELECT count(*) FROM items WHERE name = 'tx'")).toBe('1\n')
    expect(await psql('DROP TABLE orders, items')).toBe('DROP TABLE\n')
  })
})
