/** Makes a CatalogSnapshot of what the catalog's queries returned. Pure. */
import { InvariantError } from '#base/errors.js'
import type { KeyConstraint, Metric, VectorIndexSchema } from '#engine/columnar/schema.js'
import { columnKindOf } from '#engine/types/types.js'
import type {
  RawCatalogContent,
  RawColumn,
  RawTable,
  RawType,
  RawVectorIndex,
} from '#postgres/catalog-queries.js'
import type {
  CatalogSnapshot,
  ForeignKeyInfo,
  RoleInfo,
  SequenceInfo,
  TableColumn,
  TableInfo,
} from '#postgres/contract.js'
import type { RawCatalog } from '#postgres/jobs.js'
import { isTableOption } from '#postgres/option-names.js'

const metrics: Readonly<Record<string, Metric>> = {
  vector_l2_ops: 'l2',
  vector_ip_ops: 'inner',
  vector_cosine_ops: 'cosine',
  vector_l1_ops: 'l1',
}
/** pgvector's defaults. */
const hnswDefaultM = 16
const hnswDefaultEfConstruction = 64

type Types = ReadonlyMap<number, RawType>

/** What later changes need of it. */
const typesOf = new WeakMap<CatalogSnapshot, Types>()

/**
 * @param version number of DDL entries applied
 * @param before what a change is a change of
 */
export function buildCatalog(
  raw: RawCatalog,
  version: number,
  before?: CatalogSnapshot,
): CatalogSnapshot {
  const content = JSON.parse(raw.json) as RawCatalogContent
  const base = raw.isChange ? before : undefined
  if (raw.isChange && base === undefined) {
    throw new InvariantError('catalog-change', 'a change of nothing')
  }
  const knownTypes: Types = (base && typesOf.get(base)) ?? new Map()
  const types = new Map([...knownTypes, ...content.types.map((type) => [type[0], type] as const)])
  const parts = groupParts(content, raw.missing, types)
  const tables = new Map(base?.tables)
  const tablesByName = new Map(base?.tablesByName)
  for (const row of content.tables) {
    const table = buildTable(row, parts)
    tables.set(table.oid, table)
    tablesByName.set(`${table.schemaName}.${table.name}`, table)
  }
  const sequences = content.sequences.map((row) => [row[0], buildSequence(row)] as const)
  const snapshot: CatalogSnapshot = Object.freeze({
    version,
    tables,
    tablesByName,
    sequences: new Map([...(base?.sequences ?? []), ...sequences]),
    typeNames: new Map([...types.values()].map(([oid, name]) => [oid, name])),
    userFunctions: base?.userFunctions ?? userFunctions(content.functions ?? []),
    roles:
      base?.roles ??
      new Map(
        (content.roles ?? []).map(([oid, name, superuser, canLogin]): [string, RoleInfo] => [
          name,
          { oid, name, superuser, canLogin },
        ]),
      ),
  })
  typesOf.set(snapshot, types)
  return snapshot
}

type Parts = ReturnType<typeof groupParts>

/** By table, in the order of OIDs: a change is read in another order than the whole. */
function groupParts(content: RawCatalogContent, missing: RawCatalog['missing'], types: Types) {
  const byIndex = <T extends { readonly 2: number }>(rows: readonly T[]): T[] =>
    rows.toSorted((a, b) => a[2] - b[2])
  const foreignKeys = content.foreignKeys.toSorted((a, b) => a[0] - b[0])
  return {
    types,
    missing: new Map(missing.map(([table, attnum, value]) => [`${table}.${attnum}`, value])),
    columns: groupBy(content.columns, (row) => row[0]),
    keys: groupBy(byIndex(content.keys), (row) => row[0]),
    conditionalKeys: groupBy(byIndex(content.conditionalKeys), (row) => row[0]),
    vectorIndexes: groupBy(
      content.vectorIndexes.toSorted((a, b) => a[1] - b[1]),
      (row) => row[0],
    ),
    foreignKeys: groupBy(foreignKeys, (row) => row[2]),
    referencedBy: groupBy(foreignKeys, (row) => row[4]),
    children: groupBy(
      content.tables.filter((row) => row[4] !== 0).toSorted((a, b) => a[0] - b[0]),
      (row) => row[4],
    ),
  }
}

function buildTable(row: RawTable, parts: Parts): TableInfo {
  const [
    oid,
    schemaName,
    name,
    relkind,
    parentOid,
    ownerName,
    hasRowSecurity,
    options,
    fileNumber,
  ] = row
  const columns = (parts.columns.get(oid) ?? []).map((column) =>
    buildColumn(column, parts.types, parts.missing.get(`${oid}.${column[1]}`) ?? null),
  )
  return Object.freeze({
    oid,
    schemaName,
    name,
    kind: relkind === 'p' ? 'partitioned' : 'table',
    partitions: relkind === 'p' ? leavesOf(oid, parts.children) : [],
    parentOid,
    columns,
    keys: (parts.keys.get(oid) ?? []).map(
      ([, keyName, indexOid, attnums, primary, nullsNotDistinct]): KeyConstraint => ({
        name: keyName,
        indexOid,
        attnums,
        primary,
        nullsNotDistinct,
      }),
    ),
    conditionalKeys: (parts.conditionalKeys.get(oid) ?? []).map(
      ([, keyName, indexOid, attnums, expressions, condition, nullsNotDistinct]) => ({
        name: keyName,
        indexOid,
        attnums,
        expressions,
        condition,
        nullsNotDistinct,
      }),
    ),
    vectorIndexes: (parts.vectorIndexes.get(oid) ?? []).flatMap((index) =>
      buildVectorIndex(index, columns),
    ),
    foreignKeys: (parts.foreignKeys.get(oid) ?? []).map(buildForeignKey),
    referencedBy: (parts.referencedBy.get(oid) ?? []).map(([constraintOid, , tableOid]) => ({
      tableOid,
      constraintOid,
    })),
    hasTriggers: row[9],
    hasRowSecurity,
    hasCheckConstraints: row[10],
    options: new Map((options ?? []).map(splitOption).filter(([option]) => isTableOption(option))),
    ownerName,
    fileNumber,
  })
}

function buildForeignKey(row: RawCatalogContent['foreignKeys'][number]): ForeignKeyInfo {
  const [constraintOid, name, , attnums, referencedTableOid, referencedAttnums, ...how] = row
  const [matchFull, deferred] = how
  const referenced = { referencedTableOid, referencedAttnums }
  return { constraintOid, name, attnums, ...referenced, matchFull, deferred }
}

const unknownType = { typeName: 'record', typmod: -1 }

function buildColumn(row: RawColumn, types: Types, missing: Uint8Array | null): TableColumn {
  const [
    ,
    attnum,
    name,
    typeOid,
    typmod,
    notNull,
    ,
    generated,
    identity,
    defaultExpression,
    sequenceOid,
  ] = row
  // Rows of tables as values are not listed.
  const [, typeName = 'record', baseOid = 0] = types.get(typeOid) ?? []
  return {
    attnum,
    name,
    typeOid,
    typeName,
    typmod,
    // Values of domains are PostgreSQL's alone: nothing else knows them by that name.
    ...columnKindOf(baseOid === 0 ? { typeName, typmod } : unknownType),
    notNull,
    missing,
    defaultExpression,
    generated: generated as TableColumn['generated'],
    identity: identity as TableColumn['identity'],
    sequenceOid,
  }
}

/** None for what our graph does not serve: other types, expressions other than a cast to vector(n). */
function buildVectorIndex(
  row: RawVectorIndex,
  columns: readonly TableColumn[],
): VectorIndexSchema[] {
  const [, indexOid, name, attnum, definition, operatorClass, options] = row
  const metric = metrics[operatorClass]
  const column =
    attnum > 0
      ? columns.find((c) => c.attnum === attnum)
      : columns.find((c) => c.name === castColumnName(definition))
  if (metric === undefined || column === undefined || column.typeName !== 'vector') return []
  const given = new Map((options ?? []).map(splitOption))
  return [
    {
      indexOid,
      name,
      attnum: column.attnum,
      metric,
      m: Number(given.get('m') ?? hnswDefaultM),
      efConstruction: Number(given.get('ef_construction') ?? hnswDefaultEfConstruction),
    },
  ]
}

/** `(embedding::vector(3))`, as pg_get_indexdef prints it. */
function castColumnName(definition: string): string | undefined {
  const match = /^\(*("(?:[^"]|"")+"|\w+)\)*::(?:"?\w+"?\.)?vector(\(\d+\))?\)*$/.exec(
    definition.trim(),
  )
  const name = match?.[1]
  return name?.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name
}

function buildSequence(row: RawCatalogContent['sequences'][number]): SequenceInfo {
  const [oid, schemaName, name, start, increment, min, max, cycle] = row
  return {
    oid,
    schemaName,
    name,
    start: BigInt(start),
    increment: BigInt(increment),
    min: BigInt(min),
    max: BigInt(max),
    cycle,
  }
}

function leavesOf(oid: number, children: ReadonlyMap<number, readonly RawTable[]>): number[] {
  return (children.get(oid) ?? []).flatMap((child) =>
    child[3] === 'p' ? leavesOf(child[0], children) : [child[0]],
  )
}

function splitOption(option: string): [string, string] {
  const equals = option.indexOf('=')
  return equals < 0 ? [option, 'true'] : [option.slice(0, equals), option.slice(equals + 1)]
}

function groupBy<T>(rows: readonly T[], key: (row: T) => number): Map<number, T[]> {
  const out = new Map<number, T[]>()
  for (const row of rows) {
    const group = out.get(key(row))
    if (group === undefined) out.set(key(row), [row])
    else group.push(row)
  }
  return out
}

function userFunctions(
  functions: NonNullable<RawCatalogContent['functions']>,
): CatalogSnapshot['userFunctions'] {
  const found = new Map<string, 'stable' | 'volatile'>()
  for (const [name, isVolatile] of functions) {
    if (isVolatile || !found.has(name)) found.set(name, isVolatile ? 'volatile' : 'stable')
  }
  return found
}
