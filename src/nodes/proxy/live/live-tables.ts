/**
 * Tables elanus.live_* (sql/live.sql): facts that only the running server knows, as rows for a statement that reads them.
 * PostgreSQL's own views (pg_stat_activity, pg_stat_progress_…) and size functions are defined over them.
 */
import { backgroundContext } from '#base/context.js'
import { type LiveTableName, liveRows } from '#nodes/proxy/live/live-rows.js'
import type { LiveRow, LiveSources } from '#nodes/proxy/live/live-sources.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import type { PlanNode, Postgres, TableLoad } from '#postgres/contract.js'

const names: readonly LiveTableName[] = [
  'live_activity',
  'live_create_index',
  'live_copy',
  'live_locks',
  'live_segments',
  'live_relations',
  'live_channels',
  'live_jobs',
  'live_nodes',
  'live_memory',
]

/** Functions whose bodies read live_relations: EXPLAIN does not show it. */
const readsRelations =
  /\bpg_((relation|table|total_relation|indexes|database)_size|stat_get_(live_tuples|dead_tuples|numscans|tuples_(inserted|updated|deleted)))\b/i
/** Columns of pg_class that are facts; `*` may be `c.*`. */
const namesRelationFacts = /\b(reltuples|relpages)\b|\*/i

export class LiveTables {
  readonly #oids: ReadonlyMap<LiveTableName, number>

  constructor(oids: ReadonlyMap<LiveTableName, number>) {
    this.#oids = oids
  }

  /** Which of them a statement reads. */
  readBy(plan: PlanNode, sql: string): readonly LiveTableName[] {
    const found = new Set<LiveTableName>()
    const walk = (node: PlanNode): void => {
      const name = names.find((candidate) => candidate === node['Relation Name'])
      if (name !== undefined && node.Schema === 'elanus') found.add(name)
      for (const child of node.Plans ?? []) walk(child)
    }
    walk(plan)
    if (readsRelations.test(sql) || readsRelationFacts(plan, sql)) found.add('live_relations')
    return [...found]
  }

  /** What makes the facts of pg_class true once the rows are loaded; undefined: the statement does not read them. */
  afterLoads(loaded: readonly LiveTableName[], plan: PlanNode, sql: string): string | undefined {
    return loaded.includes('live_relations') && readsRelationFacts(plan, sql)
      ? 'CALL elanus.set_relation_statistics()'
      : undefined
  }

  async loads(
    wanted: readonly LiveTableName[],
    sources: LiveSources,
  ): Promise<readonly TableLoad[]> {
    const loads: TableLoad[] = []
    for (const name of wanted) {
      const oid = this.#oids.get(name)
      if (oid === undefined) continue
      const rows = await liveRows(name, sources)
      const width = rows[0]?.length ?? 0
      loads.push({
        tableOid: oid,
        attnums: Array.from({ length: width }, (_, i) => i + 1),
        tuples: encodeTuples(rows),
        rowCount: rows.length,
      })
    }
    return loads
  }
}

function readsRelationFacts(plan: PlanNode, sql: string): boolean {
  return namesRelationFacts.test(sql) && scansClasses(plan)
}

function scansClasses(node: PlanNode): boolean {
  return (
    (node['Relation Name'] === 'pg_class' && node.Schema === 'pg_catalog') ||
    (node.Plans ?? []).some(scansClasses)
  )
}

export async function openLiveTables(postgres: Postgres): Promise<LiveTables> {
  const result = await postgres.catalogQuery(
    {
      statement: {
        sql: `SELECT relname::text, oid::int8::text FROM pg_catalog.pg_class
              WHERE relnamespace = 'elanus'::regnamespace AND relname LIKE 'live%'`,
        parameterTypes: [],
        parameters: [],
        parameterFormats: [],
        resultFormats: [],
      },
      settings: { user: 'postgres', gucs: new Map(), key: 'postgres' },
      pendingDdl: [],
      loads: [],
      sequences: [],
      sessionSequences: [],
      captureTables: [],
    },
    backgroundContext,
  )
  const oids = new Map<LiveTableName, number>()
  for (const [name, oid] of dataRows(result)) {
    const known = names.find((candidate) => candidate === Buffer.from(name ?? []).toString())
    if (known !== undefined) oids.set(known, Number(Buffer.from(oid ?? []).toString()))
  }
  return new LiveTables(oids)
}

/** COPY BINARY tuples: int16 field count, per field int32 length (-1: NULL) and bytes. */
function encodeTuples(rows: readonly LiveRow[]): Uint8Array {
  const pieces: Uint8Array[] = []
  for (const row of rows) {
    const head = new Uint8Array(2)
    new DataView(head.buffer).setInt16(0, row.length)
    pieces.push(head)
    for (const value of row) {
      const length = new Uint8Array(4)
      new DataView(length.buffer).setInt32(0, value === null ? -1 : value.byteLength)
      pieces.push(length)
      if (value !== null) pieces.push(value)
    }
  }
  return Buffer.concat(pieces)
}
