/** Tables of random columns, and the statements that fill them so that rows lie in every kind of segment. */
import { type Random, randomFrom } from './random.js'
import {
  drawVector,
  type MetricOperator,
  metrics,
  operatorClasses,
  quote,
  types,
  type ValueType,
} from './values.js'

export interface DataColumn {
  readonly name: string
  readonly type: ValueType
}

export interface VectorColumn {
  readonly name: string
  readonly dimensions: number
  /** Small integers only: every distance is exact, whatever the order of the additions. */
  readonly exact: boolean
}

export interface DataTable {
  readonly name: string
  /** Without id, which every table has: int4, unique, the primary key unless keyless. */
  readonly columns: readonly DataColumn[]
  readonly vector: VectorColumn | undefined
  readonly key: 'primary' | 'none'
  readonly definition: readonly string[]
}

export interface Dataset {
  readonly seed: number
  readonly tables: readonly DataTable[]
  /** In order; each its own transaction. */
  readonly steps: readonly string[]
  /** DML for use within a transaction that is rolled back. */
  readonly ownWrites: readonly string[]
}

/** @param exact vectors of small integers only, for comparing with another build of pgvector */
export function makeDataset(seed: number, exact = false): Dataset {
  const random = randomFrom(seed)
  const tables = [makeTable('t1', random, exact), makeTable('t2', random, exact)]
  const steps = ['CREATE EXTENSION IF NOT EXISTS vector']
  for (const table of tables) {
    steps.push(`DROP TABLE IF EXISTS ${table.name} CASCADE`, ...table.definition)
    steps.push(...behind(table), ...fill(table, random))
  }
  const ownWrites = tables.flatMap((table) => [
    insert(table, 5000, random.integer(1, 12), random),
    `UPDATE ${table.name} SET ${assignments(table, random)} WHERE id % 7 = ${random.integer(0, 6)}`,
    `DELETE FROM ${table.name} WHERE id % 11 = ${random.integer(0, 10)}`,
  ])
  return { seed, tables, steps, ownWrites }
}

/** What reads a table that a statement may not name: a view under other names, and functions that cannot be inlined. */
function behind({ name, columns }: DataTable): string[] {
  const renamed = columns.map((column) => `${column.name} AS of_${column.name}`)
  const body = `BEGIN RETURN (SELECT count(*) FROM ${name} WHERE id > $1); END`
  return [
    `CREATE VIEW ${name}_view AS SELECT id AS of_id, ${renamed.join(', ')} FROM ${name}`,
    ...(['STABLE', 'VOLATILE'] as const).flatMap((kind) => {
      const call = `${name}_${kind.toLowerCase()}(int4)`
      return [
        `DROP FUNCTION IF EXISTS ${call}`,
        `CREATE FUNCTION ${call} RETURNS int8 LANGUAGE plpgsql ${kind} AS '${body}'`,
      ]
    }),
  ]
}

function makeTable(name: string, random: Random, exact: boolean): DataTable {
  const count = random.integer(3, 8)
  const columns = Array.from(
    { length: count },
    (_, i): DataColumn => ({ name: `c${i}`, type: random.pick(types) }),
  )
  const vector = random.chance(0.8)
    ? { name: 'e', dimensions: random.pick([1, 2, 3, 4, 8, 17]), exact }
    : undefined
  const key = random.chance(0.85) ? 'primary' : 'none'
  const parts = [
    key === 'primary' ? 'id int4 PRIMARY KEY' : 'id int4 NOT NULL',
    ...columns.map((column) => `${column.name} ${column.type.name}`),
    ...(vector === undefined ? [] : [`${vector.name} vector(${vector.dimensions})`]),
  ]
  const create = `CREATE TABLE ${name} (${parts.join(', ')})`
  if (!random.chance(0.2)) {
    return { name, columns, vector, key, definition: [`${create}${withShards(random)}`] }
  }
  const definition = [
    `${create} PARTITION BY RANGE (id)`,
    `CREATE TABLE ${name}_low PARTITION OF ${name} FOR VALUES FROM (MINVALUE) TO (20)${withShards(random)}`,
    `CREATE TABLE ${name}_high PARTITION OF ${name} FOR VALUES FROM (20) TO (120)`,
    `CREATE TABLE ${name}_rest PARTITION OF ${name} DEFAULT${withShards(random)}`,
  ]
  return { name, columns, vector, key, definition }
}

/** Rows in two or three shards in part of the tables. */
function withShards(random: Random): string {
  return random.chance(0.4) ? ` WITH (shards = ${random.integer(2, 3)})` : ''
}

/** The statement for a PostgreSQL that knows nothing of ours. */
export function withoutShards(sql: string): string {
  return sql.replace(/ WITH \(shards = \d+\)$/, '')
}

function fill(table: DataTable, random: Random): string[] {
  const steps: string[] = []
  let nextId = 1
  const rounds = random.integer(0, 4)
  for (let round = 0; round < rounds; round += 1) {
    const count = random.pick([1, 3, 20, 60, 150])
    steps.push(insert(table, nextId, count, random))
    nextId += count
    for (let turn = random.integer(0, 3); turn > 0; turn -= 1)
      steps.push(disturbance(table, nextId, random))
  }
  return steps
}

function disturbance(table: DataTable, nextId: number, random: Random): string {
  switch (random.integer(0, 5)) {
    case 0:
    case 1:
      return 'CHECKPOINT'
    case 2:
      return `UPDATE ${table.name} SET ${assignments(table, random)} WHERE id % 5 = ${random.integer(0, 4)}`
    case 3:
      return `DELETE FROM ${table.name} WHERE id BETWEEN ${random.integer(1, nextId)} AND ${random.integer(1, nextId)}`
    case 4: {
      const operator: MetricOperator = random.pick(metrics)
      return table.vector === undefined
        ? 'CHECKPOINT'
        : `CREATE INDEX ON ${table.name} USING hnsw (${table.vector.name} ${operatorClasses[operator]})`
    }
    default:
      return `VACUUM FULL ${table.name}`
  }
}

function insert(table: DataTable, firstId: number, count: number, random: Random): string {
  const rows = Array.from(
    { length: count },
    (_, i) => `(${[firstId + i, ...drawRow(table, random)].join(', ')})`,
  )
  return `INSERT INTO ${table.name} VALUES ${rows.join(', ')}`
}

function drawRow(table: DataTable, random: Random): string[] {
  const row = table.columns.map((column) => drawLiteral(column.type, random))
  if (table.vector !== undefined) {
    row.push(random.chance(0.1) ? 'NULL' : quote(drawVector(random, table.vector)))
  }
  return row
}

function drawLiteral(type: ValueType, random: Random): string {
  if (random.chance(0.12)) return 'NULL'
  const value =
    type.draw !== undefined && random.chance(0.35) ? type.draw(random) : random.pick(type.values)
  return quote(value)
}

function assignments(table: DataTable, random: Random): string {
  const column = random.pick(table.columns)
  return `${column.name} = ${drawLiteral(column.type, random)}`
}
