/** The tables and their rows, and what making them took. */
import type pg from 'pg'
import { cpuSeconds, machineLoad, residentMb } from './processes.js'

export interface Measuring {
  readonly folder: string
  readonly port: number
  readonly tableCount: number
  readonly startArguments: readonly string[]
  readonly print: (line: string) => void
}

export type ProcessIds = ReadonlyMap<string, number>

const reportEvery = 250

export function createTable(name: string): string {
  return `CREATE TABLE ${name} (id bigint PRIMARY KEY, tenant int NOT NULL, title text, e vector(8)) WITH (shards = 2)`
}

export async function makeTables(
  client: pg.Client,
  { tableCount, print }: Measuring,
  processes: ProcessIds,
): Promise<void> {
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  for (let first = 0; first < tableCount; first += reportEvery) {
    const end = Math.min(tableCount, first + reportEvery)
    const count = end - first
    const spent = await spending(processes, async () => {
      for (let i = first; i < end; i += 1) await client.query(createTable(`t${i}`))
    })
    print(`tables ${first} to ${end}: a CREATE TABLE takes ${perStatement(spent, count)}`)
  }
  const spent = await spending(processes, async () => {
    for (let i = 0; i < tableCount; i += 1)
      await client.query(`INSERT INTO t${i} (id, tenant, title) VALUES (1, 1, 'a'), (2, 2, 'b')`)
  })
  print(`the first two rows of a table: ${perStatement(spent, tableCount)}`)
  printMemory(processes, print)
}

/** Wrong answers end the run. */
export async function checkTables(client: pg.Client, tableCount: number): Promise<void> {
  const { rows } = await client.query<{ n: string }>(
    "SELECT count(*) AS n FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$'",
  )
  if (Number(rows[0]?.n) !== tableCount) throw new Error(`${rows[0]?.n} tables of ${tableCount}`)
  for (const i of [0, Math.floor(tableCount / 2), tableCount - 1]) {
    const found = await client.query(`SELECT id FROM t${i} ORDER BY id`)
    if (found.rows.length !== 2) throw new Error(`t${i} has ${found.rows.length} rows of 2`)
  }
}

/** A statement that an evaluator runs. */
export async function joinTables(client: pg.Client): Promise<void> {
  const { rows } = await client.query(
    'SELECT a.id FROM t0 a JOIN t1 b ON a.id = b.id GROUP BY a.id HAVING count(*) = 1',
  )
  if (rows.length !== 2) throw new Error(`the join gave ${rows.length} rows of 2`)
}

interface Spent {
  readonly wallMs: number
  readonly cpuMs: ReadonlyMap<string, number>
}

export async function spending(processes: ProcessIds, work: () => Promise<void>): Promise<Spent> {
  const before = new Map([...processes].map(([name, pid]) => [name, cpuSeconds(pid)]))
  const beganMs = performance.now()
  await work()
  const wallMs = performance.now() - beganMs
  const cpuMs = [...processes].map(([name, pid]): [string, number] => [
    name,
    (cpuSeconds(pid) - (before.get(name) ?? 0)) * 1000,
  ])
  return { wallMs, cpuMs: new Map(cpuMs) }
}

export function perStatement({ wallMs, cpuMs }: Spent, count: number): string {
  const parts = [...cpuMs]
    .filter(([, ms]) => ms / count >= 0.5)
    .map(([name, ms]) => `${name} ${(ms / count).toFixed(1)}`)
  const load = machineLoad()
  return `${(wallMs / count).toFixed(1)} ms (CPU ms: ${parts.join(', ')}; load ${load})`
}

export function printMemory(processes: ProcessIds, print: (line: string) => void): void {
  const parts = [...processes].map(([name, pid]) => `${name} ${residentMb(pid)}`)
  print(`resident memory in MB: ${parts.join(', ')}`)
}
