/** Makes a CatalogSnapshot of what the catalog's queries returned. Pure. */
import type { KeyConstraint, Metric, VectorIndexSchema } from '#engine/columnar/schema.js'
import { columnKindOf } from '#engine/types/types.js'
import type {
  RawCatalogContent,
  RawColumn,
  RawTable,
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

/** @param version number of DDL entries applied */
export function buildCatalog(raw: RawCatalog, version: number): CatalogSnapshot {
  const content = JSON.parse(raw.json) as RawCatalogContent
  const parts = groupParts(content, raw.missing)
  const tables = new Map<number, TableInfo>()
  const tablesByName = new Map<string, TableInfo>()
  for (const row of content.tables) {
    const table = buildTable(row, parts)
    tables.set(table.oid, table)
    tablesByName.set(`${table.schemaName}.${table.name}`, table)
  }
  return Object.freeze({
    version,
    tables,
    tablesByName,
    sequences: new Map(content.sequences.map((row) => [row[0], buildSequence(row)])),
    typeNames: new Map(content.types.map(([oid, name]) => [oid, name])),
    userFunctionNames: new Set(
      content.functions.flatMap(([schema, name]) => [name, `${schema}.${name}`]),
    ),
    roles: new Map(
      content.roles.map(([oid, name, superuser, canLogin]): [string, RoleInfo] => [
        name,
        { oid, name, superuser, canLogin },
      ]),
    ),
  })
}

type Parts = ReturnType<typeof groupParts>

function groupParts(content: RawCatalogContent, missing: RawCatalog['missing']) {
  return {
    types: new Map(content.types.map((type) => [type[0], type])),
    missing: new Map(missing.map(([table, attnum, value]) => [`${table}.${attnum}`, value])),
    columns: groupBy(content.columns, (row) => row[0]),
    keys: groupBy(content.keys, (row) => row[0]),
    conditionalKeys: groupBy(content.conditionalKeys, (row) => row[0]),
    vectorIndexes: groupBy(content.vectorIndexes, (row) => row[0]),
    foreignKeys: groupBy(content.foreignKeys, (row) => row[2]),
    referencedBy: groupBy(content.foreignKeys, (row) => row[4]),
    children: groupBy(
      content.tables.filter((row) => row[4] !== 0),
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
  const [constraintOid, name, , attnums, referencedTableOid, referencedAttnums] = row
  return { constraintOid, name, attnums, referencedTableOid, referencedAttnums }
}

type Types = ReadonlyMap<number, RawCatalogContent['types'][number]>

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
  const typeName = types.get(typeOid)?.[1] ?? 'unknown'
  const base = baseTypeOf(typeOid, typmod, types)
  return {
    attnum,
    name,
    typeOid,
    typeName,
    typmod,
    ...columnKindOf(base),
    notNull,
    missing,
    defaultExpression,
    generated: generated as TableColumn['generated'],
    identity: identity as TableColumn['identity'],
    sequenceOid,
  }
}

/** Domains may stand on domains; the typmod is the first one that is given. */
function baseTypeOf(
  oid: number,
  typmod: number,
  types: Types,
): { typeName: string; typmod: number } {
  let type = types.get(oid)
  let modifier = typmod
  while (type !== undefined && type[2] !== 0) {
    if (modifier < 0) modifier = type[3]
    type = types.get(type[2])
  }
  return { typeName: type?.[1] ?? 'unknown', typmod: modifier }
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
