test('a role that is called as our schema has its tables there', async () => {
  const url = new URL(server.url)
  url.username = 'elanus'
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  await client.query(
    `CREATE TABLE docs (id serial PRIMARY KEY, x int); INSERT INTO docs (x) VALUES (1), (2)`,
  )
  expect((await client.query(`SELECT sum(x)::int AS sum FROM docs`)).rows).toEqual([{ sum: 3 }])
  await client.query(`DROP TABLE docs`)
  await client.end()
})
