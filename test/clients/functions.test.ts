/** Functions, views, triggers and sub-selects that reach rows which the statement itself does not name. */
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let client: pg.Client

beforeAll(async () => {
  server = await startServer()
  client = new pg.Client(server.url)
  await client.connect()
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  await client.query('CREATE TABLE docs (id int PRIMARY KEY, name text, n int, e vector(3))')
  await client.query('CREATE TABLE log (what text, at int)')
  await client.query(`
    CREATE FUNCTION total() RETURNS int8 LANGUAGE sql STABLE AS 'SELECT sum(n) FROM docs';
    CREATE FUNCTION total_later() RETURNS int8 LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT sum(n) FROM docs); END';
    CREATE FUNCTION add(w text) RETURNS int8 LANGUAGE plpgsql AS
      'BEGIN INSERT INTO log VALUES (w, 0); RETURN (SELECT count(*) FROM log); END';
    CREATE FUNCTION pass(a int, b int) RETURNS void LANGUAGE plpgsql AS
      'BEGIN UPDATE docs SET n = n - 1 WHERE id = a; UPDATE docs SET n = n + 1 WHERE id = b; END';
    CREATE FUNCTION near_sql(q vector, k int) RETURNS TABLE (id int, d float8) LANGUAGE sql STABLE AS
      'SELECT id, e <-> q FROM docs ORDER BY e <-> q LIMIT k';
    CREATE FUNCTION near_body(q vector, k int) RETURNS TABLE (id int, d float8) LANGUAGE plpgsql AS
      'BEGIN RETURN QUERY SELECT docs.id, docs.e <-> q FROM docs ORDER BY docs.e <-> q LIMIT k; END';
    CREATE FUNCTION label(docs) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1.name || '/' || $1.n $$`)
  await client.query(
    'CREATE VIEW renamed AS SELECT id AS doc, name AS called, n + 1 AS next FROM docs',
  )
})
afterAll(async () => {
  await client.end()
  await server.stop()
})
beforeEach(async () => {
  await client.query('TRUNCATE docs, log')
  await client.query(
    `INSERT INTO docs SELECT i, 'doc ' || i, i % 5, ARRAY[i, i, i]::vector FROM generate_series(1, 10) i`,
  )
})

async function values(sql: string): Promise<unknown[][]> {
  return (await client.query({ text: sql, rowMode: 'array' })).rows as unknown[][]
}

async function refusal(sql: string): Promise<{ code: string | undefined; message: string }> {
  const error = await client.query(sql).then(
    () => undefined,
    (thrown: pg.DatabaseError) => thrown,
  )
  return { code: error?.code, message: error?.message ?? 'not refused' }
}

test('a function reads all rows and columns, whatever the statement around it reads', async () => {
  expect(await values('SELECT total(), total_later()')).toEqual([['20', '20']])
  expect(await values('SELECT * FROM total_later()')).toEqual([['20']])
  expect(await values('SELECT id, total() FROM docs WHERE id = 7')).toEqual([[7, '20']])
  expect(await values('SELECT id, total_later() FROM docs WHERE id = 7')).toEqual([[7, '20']])
  expect(await values('SELECT count(*) FROM docs WHERE n * 5 = total_later()')).toEqual([['2']])
  expect(
    await values(`SELECT id FROM docs WHERE n * 5 = total() ORDER BY e <-> '[10,10,10]' LIMIT 1`),
  ).toEqual([[9]])
  expect(await values('UPDATE docs SET n = total_later() WHERE id = 1 RETURNING n')).toEqual([[20]])
  expect(await values('DELETE FROM docs WHERE n < total() / 20 RETURNING id')).toEqual([[5], [10]])
  expect(await values('INSERT INTO log VALUES ($$x$$, total()) RETURNING at')).toEqual([[39]])
})

test('the nearest rows by a function, whether its body can be inlined or not', async () => {
  for (const name of ['near_sql', 'near_body']) {
    expect(await values(`SELECT id FROM ${name}('[3,3,3]', 3) ORDER BY d, id`)).toEqual([
      [3],
      [2],
      [4],
    ])
    expect(
      await values(
        `SELECT name FROM ${name}('[9,9,9]', 1) AS found JOIN docs ON docs.id = found.id`,
      ),
    ).toEqual([['doc 9']])
  }
})

test('what a function writes is kept, and undone with its transaction', async () => {
  expect(await values(`SELECT add('a')`)).toEqual([['1']])
  expect(await values(`SELECT * FROM add('b')`)).toEqual([['2']])
  await client.query('SELECT pass(1, 2)')
  expect(await values('SELECT id, n FROM docs WHERE id < 4 ORDER BY id')).toEqual([
    [1, 0],
    [2, 3],
    [3, 3],
  ])
  await client.query('BEGIN')
  expect(await values(`SELECT add('c')`)).toEqual([['3']])
  expect(await values('SELECT count(*) FROM log')).toEqual([['3']])
  await client.query('ROLLBACK')
  expect(await values('SELECT what FROM log ORDER BY what')).toEqual([['a'], ['b']])
  await client.query('BEGIN READ ONLY')
  expect(await values('SELECT total_later()')).toEqual([['20']])
  expect(await refusal(`SELECT add('d')`)).toMatchObject({ code: '25006' })
  await client.query('ROLLBACK')
  await client.query(`SET elanus.read_time = '${new Date().toISOString()}'`)
  expect(await values('SELECT total_later()')).toEqual([['20']])
  expect(await refusal(`SELECT add('e')`)).toMatchObject({ code: '25006' })
  await client.query('RESET elanus.read_time')
  expect(await refusal(`COPY (SELECT add('f')) TO STDOUT`)).toMatchObject({ code: '0A000' })
  expect(await values('SELECT count(*) FROM log')).toEqual([['2']])
})

test('a function that deletes sets off referential actions', async () => {
  await client.query('CREATE TABLE parent (id int PRIMARY KEY)')
  await client.query(
    'CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)',
  )
  await client.query('INSERT INTO parent VALUES (1), (2)')
  await client.query('INSERT INTO child VALUES (1, 1), (2, 2), (3, 1)')
  await client.query(`CREATE FUNCTION drop_parent(int) RETURNS int8 LANGUAGE plpgsql AS
    'BEGIN DELETE FROM parent WHERE id = $1; RETURN (SELECT count(*) FROM child); END'`)
  expect(await values('SELECT drop_parent(1)')).toEqual([['1']])
  expect(await values('SELECT * FROM child')).toEqual([[2, 2]])
})

test('a trigger changes rows of a table that others refer to', async () => {
  await client.query(`
    CREATE TABLE authors (id int PRIMARY KEY, books int DEFAULT 0);
    CREATE TABLE books (id int PRIMARY KEY, author int REFERENCES authors ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE FUNCTION count_books() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN UPDATE authors SET books = books + 1 WHERE id = NEW.author; RETURN NULL; END';
    CREATE TRIGGER counted AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION count_books();
    INSERT INTO authors VALUES (1), (2)`)
  await client.query('INSERT INTO books VALUES (1, 1), (2, 1), (3, 2)')
  expect(await values('SELECT id, books FROM authors ORDER BY id')).toEqual([
    [1, 2],
    [2, 1],
  ])
  await client.query('UPDATE authors SET id = 10 WHERE id = 1')
  expect(await values('SELECT author FROM books ORDER BY id')).toEqual([[10], [10], [2]])
  await client.query(
    `DO $$ BEGIN UPDATE authors SET id = 20 WHERE id = 2; DELETE FROM authors WHERE id = 10; END $$`,
  )
  expect(await values('SELECT id, author FROM books')).toEqual([[3, 20]])
})

test('what happens within a statement sees all rows of the table that it changes', async () => {
  await client.query(`
    CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE);
    CREATE TABLE strict_tree (id int PRIMARY KEY, parent int REFERENCES strict_tree);
    INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, NULL);
    INSERT INTO strict_tree VALUES (1, NULL), (2, 1);
    CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN NEW.n := (SELECT sum(n) FROM sums); RETURN NEW; END';
    CREATE TABLE sums (id int PRIMARY KEY, n int);
    INSERT INTO sums VALUES (1, 1), (2, 2), (3, 3);
    CREATE TRIGGER t BEFORE UPDATE ON sums FOR EACH ROW EXECUTE FUNCTION sum_up();
    CREATE FUNCTION below(int) RETURNS int8 LANGUAGE plpgsql IMMUTABLE AS
      'BEGIN RETURN (SELECT count(*) FROM sums WHERE n < $1); END'`)
  await client.query('DELETE FROM tree WHERE id = 1')
  expect(await values('SELECT id FROM tree')).toEqual([[4]])
  expect(await refusal('DELETE FROM strict_tree WHERE id = 1')).toMatchObject({ code: '23503' })
  expect(await values('SELECT id, below(n) FROM sums WHERE id = 3')).toEqual([[3, '2']])
  expect(await values('UPDATE sums SET n = 0 WHERE id = 1 RETURNING n')).toEqual([[6]])
})

test('a function that changes the catalog is refused, and changes nothing', async () => {
  for (const ddl of ['CREATE TABLE made (a int)', 'ALTER TABLE log ADD b int', 'DROP TABLE log']) {
    await client.query(
      `CREATE OR REPLACE FUNCTION change() RETURNS void LANGUAGE plpgsql AS 'BEGIN ${ddl}; END'`,
    )
    expect(await refusal('SELECT change()')).toMatchObject({ code: '0A000' })
  }
  expect(await values('SELECT count(*) FROM log')).toEqual([['0']])
  await client.query(`CREATE FUNCTION with_temporary() RETURNS int8 LANGUAGE plpgsql AS
    'BEGIN CREATE TEMP TABLE few ON COMMIT DROP AS SELECT * FROM docs; RETURN (SELECT count(*) FROM few); END'`)
  expect(await values('SELECT with_temporary()')).toEqual([['10']])
})

test('a view beside the table that it reads, and whole rows under other names', async () => {
  expect(
    await values(
      'SELECT docs.id, called, next FROM docs JOIN renamed ON doc = docs.id WHERE docs.id < 3 ORDER BY 1',
    ),
  ).toEqual([
    [1, 'doc 1', 2],
    [2, 'doc 2', 3],
  ])
  expect(
    await values(
      'SELECT d.id, (SELECT called FROM renamed WHERE doc = d.id) FROM docs d WHERE d.id = 4',
    ),
  ).toEqual([[4, 'doc 4']])
  expect(await values('SELECT d.label, label(d), d::text FROM docs d WHERE id = 2')).toEqual([
    ['doc 2/2', 'doc 2/2', '(2,"doc 2",2,"[2,2,2]")'],
  ])
  await client.query(`
    CREATE TABLE parts (id int, kind int, name text) PARTITION BY LIST (kind);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
    INSERT INTO parts VALUES (1, 1, 'a'), (2, 2, 'b')`)
  expect(await values('SELECT p::text FROM parts p ORDER BY id')).toEqual([
    ['(1,1,a)'],
    ['(2,2,b)'],
  ])
  expect(await values('DELETE FROM parts p WHERE id = 1 RETURNING p::text')).toEqual([['(1,1,a)']])
  expect(await values('DELETE FROM docs WHERE id = 9 RETURNING old')).toEqual([
    ['(9,"doc 9",4,"[9,9,9]")'],
  ])
})

test('a sub-select sees all rows of the table whose rows the statement picks', async () => {
  expect(
    await values(
      'SELECT a.id, (SELECT max(b.id) FROM docs b WHERE b.id < a.id) FROM docs a WHERE a.n = 0 ORDER BY 1',
    ),
  ).toEqual([
    [5, 4],
    [10, 9],
  ])
  expect(
    await values(
      `SELECT a.id, (SELECT count(*) FROM docs b WHERE b.n = a.n) FROM docs a ORDER BY a.e <-> '[1,1,1]' LIMIT 2`,
    ),
  ).toEqual([
    [1, '2'],
    [2, '2'],
  ])
})

test('DO and CALL: bodies that read and change rows', async () => {
  await client.query(`DO $$ DECLARE r record; BEGIN
    FOR r IN SELECT * FROM docs WHERE n > 3 LOOP
      UPDATE docs SET n = 0 WHERE id = r.id;
      INSERT INTO log VALUES (r.name, r.n);
    END LOOP; END $$`)
  expect(await values('SELECT what, at FROM log ORDER BY what')).toEqual([
    ['doc 4', 4],
    ['doc 9', 4],
  ])
  expect(await values('SELECT id FROM docs WHERE n = 0 ORDER BY id')).toEqual([[4], [5], [9], [10]])
  await client.query(
    `CREATE PROCEDURE note(w text, INOUT rows int8 DEFAULT NULL) LANGUAGE plpgsql AS
     'BEGIN INSERT INTO log VALUES (w, 1); rows := (SELECT count(*) FROM log); END'`,
  )
  expect(await values(`CALL note('simple')`)).toEqual([['3']])
  expect((await client.query('CALL note($1)', ['extended'])).rows).toEqual([{ rows: '4' }])
  await client.query('BEGIN')
  await client.query(`CALL note('undone')`)
  await client.query('ROLLBACK')
  expect(await values('SELECT count(*) FROM log')).toEqual([['4']])
  expect(await refusal(`DO $$ BEGIN RAISE EXCEPTION 'no'; END $$`)).toMatchObject({ code: 'P0001' })
  expect(await refusal('DO $$ BEGIN COMMIT; END $$')).toMatchObject({ code: '2D000' })
  expect(await refusal('DO $$ BEGIN DROP TABLE log; END $$')).toMatchObject({ code: '0A000' })
})

test('rows are written through views', async () => {
  await client.query(`
    CREATE VIEW open AS SELECT id, name FROM docs WHERE id < 100;
    CREATE VIEW loud AS SELECT id, upper(name) AS name FROM docs;
    CREATE FUNCTION whisper() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN INSERT INTO docs (id, name) VALUES (NEW.id, lower(NEW.name)); RETURN NEW; END';
    CREATE TRIGGER t INSTEAD OF INSERT ON loud FOR EACH ROW EXECUTE FUNCTION whisper()`)
  await client.query(`INSERT INTO open VALUES (50, 'through')`)
  await client.query(`UPDATE open SET name = 'changed' WHERE id = 50`)
  expect(await values(`DELETE FROM open WHERE id = 1 RETURNING name`)).toEqual([['doc 1']])
  expect(await values(`INSERT INTO loud VALUES (51, 'QUIET') RETURNING name`)).toEqual([['QUIET']])
  expect(await values('SELECT id, name FROM docs WHERE id >= 50 OR id = 1 ORDER BY id')).toEqual([
    [50, 'changed'],
    [51, 'quiet'],
  ])
})

test('names that the statement gives to columns', async () => {
  expect(await values('SELECT t.x, t.y FROM docs AS t (x, y) WHERE t.x = 3')).toEqual([
    [3, 'doc 3'],
  ])
  expect(
    await values('SELECT j.p, j.t FROM (docs a CROSS JOIN log b) AS j (p, q, r, s, t)'),
  ).toEqual([])
  expect(
    await values('SELECT id FROM docs d WHERE d = (SELECT x FROM docs x WHERE x.id = 3)'),
  ).toEqual([[3]])
  expect(
    await values(`SELECT id FROM docs d WHERE d IN (ROW(3, 'doc 3', 3, '[3,3,3]')::docs)`),
  ).toEqual([[3]])
  expect(await values('SELECT count(*) FROM log GROUP BY GROUPING SETS ((), ())')).toEqual([
    ['0'],
    ['0'],
  ])
})
