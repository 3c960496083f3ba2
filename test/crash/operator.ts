/** The client that disturbs: flushes, indexes, compaction, DDL. */
import pg from 'pg'
import type { Random } from '../differential/random.js'
import { isRefusal } from './writer.js'

/** A table made in one transaction with its rows. */
interface ExtraTable {
  readonly name: string
  readonly rowCount: number
}

export class Operator {
  readonly #random: Random
  #nextTable = 1
  readonly #tables: ExtraTable[] = []
  /** Made or dropped, nobody knows. */
  #uncertain: ExtraTable | undefined
  #hasIndex = false

  constructor(random: Random) {
    this.#random = random
  }

  async run(config: pg.ClientConfig): Promise<void> {
    const client = new pg.Client(config)
    client.on('error', () => {})
    try {
      await client.connect()
      for (;;) {
        await this.#disturb(client)
        await new Promise((resolve) => setTimeout(resolve, this.#random.integer(0, 60)))
      }
    } catch (error) {
      if (isRefusal(error)) throw error
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #disturb(client: pg.Client): Promise<void> {
    switch (this.#random.integer(0, 9)) {
      case 0:
      case 1:
      case 2:
        await client.query('CHECKPOINT')
        return
      case 3:
        await client.query(this.#random.chance(0.5) ? 'VACUUM FULL a' : 'VACUUM FULL b')
        return
      case 4:
      case 5:
        if (this.#hasIndex) {
          this.#hasIndex = false
          await client.query('DROP INDEX IF EXISTS a_e')
        } else {
          this.#hasIndex = true
          await client.query('CREATE INDEX IF NOT EXISTS a_e ON a USING hnsw (e vector_l2_ops)')
        }
        return
      case 6:
      case 7:
        return this.#makeTable(client)
      case 8:
        return this.#dropTable(client)
      default:
        await client.query('ALTER TABLE a ADD COLUMN IF NOT EXISTS extra int DEFAULT 7')
        await client.query('ALTER TABLE a DROP COLUMN IF EXISTS extra')
    }
  }

  async #makeTable(client: pg.Client): Promise<void> {
    if (this.#tables.length > 3) return this.#dropTable(client)
    const table = { name: `extra_${this.#nextTable}`, rowCount: this.#random.integer(1, 50) }
    this.#nextTable += 1
    await client.query('BEGIN')
    await client.query(`CREATE TABLE ${table.name} (id int PRIMARY KEY, word text DEFAULT 'w')`)
    await client.query(`INSERT INTO ${table.name} SELECT generate_series(1, ${table.rowCount})`)
    this.#uncertain = table
    await client.query('COMMIT')
    this.#uncertain = undefined
    this.#tables.push(table)
  }

  async #dropTable(client: pg.Client): Promise<void> {
    const table = this.#tables.shift()
    if (table === undefined) return
    this.#uncertain = table
    await client.query(`DROP TABLE ${table.name}`)
    this.#uncertain = undefined
  }

  /** @returns what is wrong */
  async verify(client: pg.Client): Promise<string | undefined> {
    const found = await client.query<{ tablename: string }>(
      `SELECT tablename FROM pg_tables WHERE tablename LIKE 'extra\\_%'`,
    )
    const names = new Set(found.rows.map(({ tablename }) => tablename))
    if (this.#uncertain !== undefined && names.has(this.#uncertain.name))
      this.#tables.push(this.#uncertain)
    this.#uncertain = undefined
    for (const { name, rowCount } of this.#tables) {
      if (!names.delete(name)) return `table ${name} is lost`
      const { rows } = await client.query<{ n: string; words: string }>(
        `SELECT count(*) AS n, count(word) AS words FROM ${name}`,
      )
      if (Number(rows[0]?.n) !== rowCount || Number(rows[0]?.words) !== rowCount) {
        return `table ${name} has ${rows[0]?.n} rows with ${rows[0]?.words} words, not ${rowCount}`
      }
    }
    return names.size === 0 ? undefined : `tables ${[...names]} should not be there`
  }
}
