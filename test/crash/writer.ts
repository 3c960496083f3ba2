/** A client that writes to its own rows, one operation after the other, and remembers what was acknowledged. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { Random } from '../differential/random.js'
import { type Changes, changes, Model } from './model.js'
import { noteOf, vectorText } from './rows.js'

const idsPerWriter = 1_000_000
/** Rows beyond it are deleted rather than added to, so that verifying stays quick. */
const rowCountMax = 1200

/** Increments of a shared row: none may be lost. */
export interface Counter {
  acknowledged: number
  unknown: number
}

export class Writer {
  readonly model = new Model()
  readonly #number: number
  readonly #random: Random
  #nextId: number
  operations = 0
  conflicts = 0

  constructor(number: number, random: Random) {
    this.#number = number
    this.#random = random
    this.#nextId = number * idsPerWriter + 1
  }

  owns(id: number): boolean {
    return Math.floor(id / idsPerWriter) === this.#number
  }

  /** Writes until the server is gone. @throws what the server answers that is no conflict */
  async run(config: pg.ClientConfig, counter: Counter): Promise<void> {
    const client = new pg.Client(config)
    client.on('error', () => {})
    try {
      await client.connect()
      for (;;) {
        try {
          await this.#operate(client, counter)
          this.operations += 1
        } catch (error) {
          if (!isConflict(error)) throw error
          this.conflicts += 1
          await client.query('ROLLBACK')
        }
      }
    } catch (error) {
      if (isRefusal(error)) throw error
    } finally {
      await client.end().catch(() => {})
    }
  }

  #operate(client: pg.Client, counter: Counter): Promise<void> {
    const kind = this.#random.integer(0, 99)
    const full = this.model.rows.a.size > rowCountMax
    if (kind < 30 && !full) return this.#insertOne(client)
    if (kind < 50) return this.#transaction(client, full)
    if (kind < 65) return this.#update(client)
    if (kind < 78 || full) return this.#remove(client)
    if (kind < 88) return this.#copy(client)
    return this.#count(client, counter)
  }

  #newIds(count: number): number[] {
    const ids = Array.from({ length: count }, (_, i) => this.#nextId + i)
    this.#nextId += count
    return ids
  }

  #someIds(table: 'a' | 'b', countMax: number): number[] {
    const ids = [...this.model.rows[table].keys()]
    if (ids.length === 0) return []
    const count = this.#random.integer(1, countMax)
    return [...new Set(Array.from({ length: count }, () => this.#random.pick(ids)))]
  }

  /** Unknown from the moment the deciding message goes out until the answer comes. */
  async #decide(asked: Changes, act: () => Promise<unknown>): Promise<void> {
    this.model.pending = asked
    try {
      await act()
    } catch (error) {
      // The server said no: it has not happened.
      if (isRefusal(error)) this.model.pending = undefined
      throw error
    }
    this.model.pending = undefined
    this.model.apply(asked)
  }

  #insertOne(client: pg.Client): Promise<void> {
    const [id = 0] = this.#newIds(1)
    return this.#decide(changes([[id, 0]]), () =>
      client.query('INSERT INTO a (id, version, note, e) VALUES ($1, $2, $3, $4)', rowOf(id, 0)),
    )
  }

  async #transaction(client: pg.Client, full: boolean): Promise<void> {
    const ids = this.#newIds(full ? 1 : this.#random.integer(1, 12))
    const updated = this.#someIds('b', 4)
    const removed = this.#someIds('a', full ? 40 : 4)
    await client.query('BEGIN')
    await client.query(
      `INSERT INTO a (id, version, note, e) VALUES ${tuples(ids.length)}`,
      ids.flatMap((id) => rowOf(id, 0)),
    )
    await client.query(
      `INSERT INTO b (id, version, note, e) VALUES ${tuples(ids.length)}`,
      ids.flatMap((id) => rowOf(id, 0)),
    )
    const versions = updated.map((id): readonly [number, number] => [
      id,
      (this.model.rows.b.get(id) ?? 0) + 1,
    ])
    for (const [id, version] of versions) {
      await client.query(
        'UPDATE b SET version = $2, note = $3, e = $4 WHERE id = $1',
        rowOf(id, version),
      )
    }
    if (removed.length > 0) await client.query('DELETE FROM a WHERE id = ANY($1::int[])', [removed])
    if (this.#random.chance(0.15)) {
      await client.query('ROLLBACK')
      return
    }
    const asked = changes(
      [...ids.map((id) => [id, 0] as const), ...removed.map((id) => [id, undefined] as const)],
      [...ids.map((id) => [id, 0] as const), ...versions],
    )
    await this.#decide(asked, () => client.query('COMMIT'))
  }

  async #update(client: pg.Client): Promise<void> {
    const [id] = this.#someIds('a', 1)
    if (id === undefined) return
    const version = (this.model.rows.a.get(id) ?? 0) + 1
    await this.#decide(changes([[id, version]]), async () => {
      const { rowCount } = await client.query(
        'UPDATE a SET version = $2, note = $3, e = $4 WHERE id = $1',
        rowOf(id, version),
      )
      if (rowCount !== 1) throw new Error(`UPDATE of row ${id} found ${rowCount} rows`)
    })
  }

  async #remove(client: pg.Client): Promise<void> {
    const ids = this.#someIds('a', 30)
    if (ids.length === 0) return
    await this.#decide(changes(ids.map((id) => [id, undefined])), async () => {
      const { rowCount } = await client.query('DELETE FROM a WHERE id = ANY($1::int[])', [ids])
      if (rowCount !== ids.length) throw new Error(`DELETE of ${ids.length} rows found ${rowCount}`)
    })
  }

  async #copy(client: pg.Client): Promise<void> {
    const ids = this.#newIds(this.#random.integer(1, 300))
    const copy = client.query(copyFrom('COPY a (id, version, note, e) FROM STDIN'))
    const lines = ids.map((id) => `${rowOf(id, 0).join('\t')}\n`)
    await this.#decide(changes(ids.map((id) => [id, 0])), () =>
      pipeline(Readable.from(lines), copy),
    )
  }

  async #count(client: pg.Client, counter: Counter): Promise<void> {
    counter.unknown += 1
    try {
      await client.query('UPDATE counters SET n = n + 1 WHERE id = 1')
    } catch (error) {
      if (isRefusal(error)) counter.unknown -= 1
      throw error
    }
    counter.unknown -= 1
    counter.acknowledged += 1
  }
}

function rowOf(id: number, version: number): [number, number, string, string] {
  return [id, version, noteOf(id, version), vectorText(id, version)]
}

function tuples(count: number): string {
  return Array.from(
    { length: count },
    (_, i) => `($${i * 4 + 1}, $${i * 4 + 2}, $${i * 4 + 3}, $${i * 4 + 4})`,
  ).join(', ')
}

/** Try again: another transaction, or a change of the table's columns, was faster. */
function isConflict(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return false
  return error.code === '40001' || error.message === 'cached plan must not change result type'
}

/** An error that the server has sent about the statement; not one of the connection or of its own end. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError))
    return error instanceof Error && /rows/.test(error.message)
  return error.code?.startsWith('57P') !== true && error.code?.startsWith('08') !== true
}
