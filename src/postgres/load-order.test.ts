import { afterAll, beforeAll, expect, it } from 'vitest'
import { backgroundContext } from '#base/context.js'
import type { Postgres } from '#postgres/contract.js'
import { bound, ddl, openTestPostgres, plainSettings } from '#postgres/postgres-fixture.js'

let postgres: Postgres

beforeAll(async () => {
  postgres = await openTestPostgres()
  await ddl(postgres, 'CREATE TABLE texts (id int, body text)')
})

afterAll(() => postgres.close())

/** COPY BINARY tuples of (id, body). */
function tuples(rows: readonly (readonly [id: number, body: string])[]): Uint8Array {
  return Buffer.concat(
    rows.map(([id, body]) => {
      const text = Buffer.from(body)
      const head = Buffer.alloc(14)
      head.writeInt16BE(2, 0)
      head.writeInt32BE(4, 2)
      head.writeInt32BE(id, 6)
      head.writeInt32BE(text.length, 10)
      return Buffer.concat([head, text])
    }),
  )
}

it('rows of very different lengths keep the order in which they were loaded', async () => {
  const oid = [...postgres.catalog().tables.values()].find(({ name }) => name === 'texts')?.oid ?? 0
  // Long rows leave room at the ends of pages that short ones would fit into.
  const rows = Array.from(
    { length: 6000 },
    (_, i) => [i, 'x'.repeat(i % 11 === 0 ? 1500 + (i % 700) : (i * 37) % 90)] as const,
  )
  for (let run = 0; run < 3; run += 1) {
    const result = await postgres.evaluate(
      {
        statement: bound('DELETE FROM texts WHERE id % 7 = 3'),
        settings: plainSettings,
        pendingDdl: [],
        loads: [{ tableOid: oid, attnums: [1, 2], tuples: tuples(rows), rowCount: rows.length }],
        sequences: [],
        sessionSequences: [],
        captureTables: [oid],
      },
      backgroundContext,
    )
    expect([...(result.changes[0]?.removed ?? [])]).toEqual(
      rows.map(([id]) => id).filter((id) => id % 7 === 3),
    )
  }
})
