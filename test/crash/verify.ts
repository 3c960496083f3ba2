/** After a restart: every acknowledged row once, nothing half there, every way of reading gives the same rows. */
import type pg from 'pg'
import type { Random } from '../differential/random.js'
import type { TableName } from './model.js'
import { noteOf, vectorOf, vectorText } from './rows.js'
import type { Writer } from './writer.js'

interface FoundRow {
  readonly id: number
  readonly version: number
  readonly note: string
  readonly e: string
}

export type FoundRows = Readonly<Record<TableName, ReadonlyMap<number, number>>>

/** @throws Error saying what is wrong */
export async function readRows(client: pg.Client): Promise<FoundRows> {
  return { a: await readTable(client, 'a'), b: await readTable(client, 'b') }
}

async function readTable(
  client: pg.Client,
  table: TableName,
): Promise<ReadonlyMap<number, number>> {
  const { rows } = await client.query<FoundRow>(`SELECT id, version, note, e FROM ${table}`)
  const found = new Map<number, number>()
  for (const { id, version, note, e } of rows) {
    if (found.has(id)) throw new Error(`${table} ${id} is there twice`)
    found.set(id, version)
    if (note !== noteOf(id, version) || e !== vectorText(id, version)) {
      throw new Error(
        `${table} ${id} of version ${version} has the content of another row: ${note.slice(0, 40)} ${e}`,
      )
    }
  }
  return found
}

/** @throws Error with the first writer that misses something or has too much */
export function settleWriters(writers: readonly Writer[], rows: FoundRows): void {
  const ofWriter = (writer: Writer): FoundRows => ({
    a: new Map([...rows.a].filter(([id]) => writer.owns(id))),
    b: new Map([...rows.b].filter(([id]) => writer.owns(id))),
  })
  for (const [number, writer] of writers.entries()) {
    const wrong = writer.model.settle(ofWriter(writer))
    if (wrong !== undefined) throw new Error(`writer ${number}: ${wrong}`)
  }
}

/** Look-ups by key, counts, and searches against distances computed here. @throws Error */
export async function verifyReads(
  client: pg.Client,
  rows: FoundRows,
  random: Random,
): Promise<void> {
  for (const table of ['a', 'b'] as const) {
    await verifyCounts(client, table, rows[table])
    await verifyKeys(client, table, rows[table], random)
    for (let i = 0; i < 3; i += 1) await verifySearch(client, table, rows[table], random)
  }
}

async function verifyCounts(
  client: pg.Client,
  table: TableName,
  rows: ReadonlyMap<number, number>,
): Promise<void> {
  const versions = [...rows.values()].reduce((sum, version) => sum + version, 0)
  for (const nativePlans of ['on', 'off']) {
    await client.query(`SET elanus.native_plans = ${nativePlans}`)
    const found = await client.query<{ n: string; versions: string }>(
      `SELECT count(*) AS n, coalesce(sum(version), 0) AS versions FROM ${table}`,
    )
    const [first] = found.rows
    if (Number(first?.n) !== rows.size || Number(first?.versions) !== versions) {
      throw new Error(
        `count of ${table}: ${JSON.stringify(first)} instead of ${rows.size}, ${versions}`,
      )
    }
  }
  await client.query('SET elanus.native_plans = on')
}

async function verifyKeys(
  client: pg.Client,
  table: TableName,
  rows: ReadonlyMap<number, number>,
  random: Random,
): Promise<void> {
  const present = [...rows.keys()]
  const ids = Array.from({ length: 20 }, () =>
    present.length > 0 && random.chance(0.7)
      ? random.pick(present)
      : random.integer(1, 4) * 1_000_000 + random.integer(1, 3000),
  )
  for (const id of ids) {
    const { rows: found } = await client.query<{ version: number }>(
      `SELECT version FROM ${table} WHERE id = $1`,
      [id],
    )
    const expected = rows.has(id) ? [rows.get(id)] : []
    if (String(found.map(({ version }) => version)) !== String(expected)) {
      throw new Error(
        `${table} by key ${id}: versions ${found.map(({ version }) => version)} instead of ${expected}`,
      )
    }
  }
}

async function verifySearch(
  client: pg.Client,
  table: TableName,
  rows: ReadonlyMap<number, number>,
  random: Random,
): Promise<void> {
  const k = 10
  const query = vectorOf(random.integer(1, 1_000_000), 0)
  const nearest = [...rows]
    .map(([id, version]) => ({
      id,
      distance: vectorOf(id, version).reduce((sum, x, i) => sum + (x - (query[i] ?? 0)) ** 2, 0),
    }))
    .sort((a, b) => a.distance - b.distance || a.id - b.id)
  const sql = `SELECT id FROM ${table} ORDER BY e <-> $1, id LIMIT ${k}`
  const search = async (): Promise<number[]> => {
    const found = await client.query<{ id: number }>(sql, [`[${query.join(',')}]`])
    return found.rows.map(({ id }) => id)
  }
  await client.query('SET enable_indexscan = off')
  const exact = await search()
  await client.query('SET enable_indexscan = on')
  const expected = nearest.slice(0, k).map(({ id }) => id)
  if (String(exact) !== String(expected))
    throw new Error(`exact search in ${table}: ${exact} instead of ${expected}`)
  await client.query('SET hnsw.ef_search = 200')
  const approximate = await search()
  if (approximate.length !== expected.length || new Set(approximate).size !== approximate.length) {
    throw new Error(
      `search in ${table}: rows ${approximate}, expected ${expected.length} different ones`,
    )
  }
  const unknown = approximate.filter((id) => !rows.has(id))
  if (unknown.length > 0) throw new Error(`search in ${table}: rows ${unknown} are not there`)
  const hits = approximate.filter((id) => expected.includes(id)).length
  if (hits < expected.length * 0.7)
    throw new Error(`search in ${table}: ${hits} of ${expected.length} are right`)
}
