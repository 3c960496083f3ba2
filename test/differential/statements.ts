/** Generated SELECTs, each with what its answers must agree in. */
import fc from 'fast-check'
import type { Agreement } from './compare.js'
import { columnsOf, conditionArb } from './conditions.js'
import type { DataColumn, Dataset, DataTable } from './dataset.js'
import { type Fragment, vectorArb, write } from './fragment.js'
import type { Parameter } from './session.js'
import { metrics } from './values.js'

export interface GeneratedStatement {
  readonly sql: string
  readonly parameters: readonly Parameter[]
  readonly resultFormat: 0 | 1
  readonly agreement: Agreement
  /** The SELECT whose rows a changing statement must return. */
  readonly reference?: string | undefined
}

interface Draft {
  readonly fragment: Fragment
  readonly reference?: Fragment
  readonly agreement: Agreement
}

export function statementArb(dataset: Dataset): fc.Arbitrary<GeneratedStatement> {
  const table = fc.constantFrom(...dataset.tables)
  const withVector = dataset.tables.filter((candidate) => candidate.vector !== undefined)
  const kinds: fc.WeightedArbitrary<Draft>[] = [
    { weight: 4, arbitrary: table.chain(filtered) },
    { weight: 3, arbitrary: table.chain(sortedScan) },
    { weight: 3, arbitrary: table.chain(aggregates) },
    { weight: 2, arbitrary: table.chain(grouped) },
    { weight: 1, arbitrary: table.chain(distinct) },
    { weight: 2, arbitrary: fc.tuple(table, table).chain(([a, b]) => joins(a, b)) },
    { weight: 1, arbitrary: table.chain(windows) },
    { weight: 1, arbitrary: table.chain(changing) },
    { weight: 2, arbitrary: fc.tuple(table, table).chain(([a, b]) => behind(a, b)) },
  ]
  if (withVector.length > 0) {
    const vectorTable = fc.constantFrom(...withVector)
    kinds.push({ weight: 8, arbitrary: vectorTable.chain(nearest) })
    kinds.push({ weight: 2, arbitrary: vectorTable.chain(similar) })
  }
  return fc
    .tuple(fc.oneof(...kinds), fc.constantFrom<0 | 1>(0, 0, 1))
    .map(([{ fragment, reference, agreement }, format]) => {
      const resultFormat =
        agreement.order === 'keys' ||
        agreement.anySpelling === true ||
        (agreement.approximate ?? []).length > 0
          ? 0
          : format
      return {
        ...write(fragment),
        resultFormat,
        agreement,
        reference: reference && write(reference).sql,
      }
    })
}

const no: Fragment = () => ''

/** A WHERE clause or none. */
function whereArb(table: DataTable, prefix = ''): fc.Arbitrary<Fragment> {
  const clause = conditionArb(table, prefix).map(
    (condition): Fragment =>
      (writer) =>
        ` WHERE ${condition(writer)}`,
  )
  return fc.oneof({ weight: 1, arbitrary: fc.constant(no) }, { weight: 3, arbitrary: clause })
}

/** LIMIT and OFFSET, as literals or parameters; or none. */
function cutArb(
  limitNeeded: boolean,
): fc.Arbitrary<{ readonly sql: Fragment; readonly cut: boolean }> {
  const amount = fc
    .tuple(fc.constantFrom(0, 1, 2, 3, 5, 10, 50, 1000), fc.constantFrom('bare', 'text'))
    .map(
      ([count, as]): Fragment =>
        (writer) =>
          writer.value({
            castName: 'int8',
            oid: 20,
            value: String(count),
            bytes: undefined,
            as: as === 'bare' ? 'bare' : 'text',
          }),
    )
  const limit = amount.map(
    (count): Fragment =>
      (writer) =>
        ` LIMIT ${count(writer)}`,
  )
  const offset = amount.map(
    (count): Fragment =>
      (writer) =>
        ` OFFSET ${count(writer)}`,
  )
  const none = fc.constant<Fragment | undefined>(undefined)
  return fc
    .tuple(
      limitNeeded ? limit : fc.option(limit, { nil: undefined }),
      fc.oneof({ weight: 3, arbitrary: none }, { weight: 1, arbitrary: offset }),
    )
    .map(([count, skip]) => ({
      sql: (writer) => `${count?.(writer) ?? ''}${skip?.(writer) ?? ''}`,
      cut: count !== undefined || skip !== undefined,
    }))
}

/** A select list of plain columns, of a star, or with expressions among it. */
function listArb(table: DataTable, prefix = ''): fc.Arbitrary<string> {
  const names = [
    ...columnsOf(table).map(({ name }) => name),
    ...(table.vector === undefined ? [] : [table.vector.name]),
  ]
  const items = [
    ...names.map((name) => `${prefix}${name}`),
    ...names.map((name) => `${prefix}${name} IS NULL`),
    `${prefix}id + 1`,
    `${prefix}id::text || 'x'`,
    '1',
  ]
  const columns = fc
    .uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 4 })
    .map((chosen) => chosen.map((name) => `${prefix}${name}`).join(', '))
  const mixed = fc
    .array(fc.constantFrom(...items), { minLength: 1, maxLength: 4 })
    .map((chosen) => chosen.map((item, i) => `${item} AS o${i}`).join(', '))
  return fc.oneof(
    { weight: 3, arbitrary: columns },
    { weight: 1, arbitrary: mixed },
    { weight: 1, arbitrary: fc.constant(`${prefix}*`) },
  )
}

function filtered(table: DataTable): fc.Arbitrary<Draft> {
  return fc
    .tuple(
      listArb(table),
      whereArb(table),
      cutArb(false),
      fc.constantFrom('plain', 'plain', 'cte', 'sub'),
    )
    .map(([list, where, { sql: cut, cut: isCut }, form]): Draft => {
      const source: Record<string, Fragment> = {
        plain: (writer) => `SELECT ${list} FROM ${table.name}${where(writer)}${cut(writer)}`,
        cte: (writer) =>
          `WITH w AS (SELECT * FROM ${table.name}${where(writer)}) SELECT ${list} FROM w${cut(writer)}`,
        sub: (writer) =>
          `SELECT ${list} FROM (SELECT * FROM ${table.name}${where(writer)}) AS w${cut(writer)}`,
      }
      return { fragment: source[form] ?? no, agreement: { order: isCut ? 'count' : 'bag' } }
    })
}

const directions = fc.constantFrom(
  '',
  '',
  ' ASC',
  ' DESC',
  ' DESC NULLS LAST',
  ' NULLS FIRST',
  ' DESC NULLS FIRST',
  ' ASC NULLS LAST',
)

function sortKeysArb(
  columns: readonly DataColumn[],
  prefix = '',
): fc.Arbitrary<readonly { readonly name: string; readonly sql: string }[]> {
  const ordered = columns.filter(({ type }) => type.ordered)
  const key = fc.tuple(fc.constantFrom(...ordered), directions).map(([{ name }, direction]) => ({
    name: `${prefix}${name}`,
    sql: `${prefix}${name}${direction}`,
  }))
  return fc.uniqueArray(key, { minLength: 1, maxLength: 3, selector: ({ name }) => name })
}

function sortedScan(table: DataTable): fc.Arbitrary<Draft> {
  return fc
    .tuple(
      listArb(table),
      whereArb(table),
      sortKeysArb(columnsOf(table)),
      cutArb(false),
      fc.boolean(),
    )
    .map(([list, where, keys, { sql: cut, cut: isCut }, total]): Draft => {
      const order = keys.map(({ sql }) => sql)
      if (total || keys.some(({ name }) => name === 'id')) {
        return {
          fragment: (writer) =>
            `SELECT ${list} FROM ${table.name}${where(writer)} ORDER BY ${[...order, 'id'].join(', ')}${cut(writer)}`,
          agreement: { order: 'total' },
        }
      }
      return {
        fragment: (writer) =>
          `SELECT ${keys.map(({ name }) => name).join(', ')}, ${list} FROM ${table.name}${where(writer)} ORDER BY ${order.join(', ')}${cut(writer)}`,
        agreement: { order: 'keys', keys: keys.map((_, i) => i), cut: isCut },
      }
    })
}

interface Aggregate {
  readonly sql: string
  readonly approximate: boolean
}

function aggregatesOf(table: DataTable, prefix = ''): readonly Aggregate[] {
  const found: Aggregate[] = [
    { sql: 'count(*)', approximate: false },
    { sql: `count(DISTINCT ${prefix}id % 4)`, approximate: false },
    { sql: `sum(${prefix}id) FILTER (WHERE ${prefix}id > 5)`, approximate: false },
  ]
  for (const { name, type } of columnsOf(table)) {
    const column = `${prefix}${name}`
    const isFloat = type.castName.startsWith('float')
    found.push({ sql: `count(${column})`, approximate: false })
    if (type.ordered) found.push({ sql: `count(DISTINCT ${column})`, approximate: false })
    if (type.group === 'number') {
      found.push(
        { sql: `sum(${column})`, approximate: isFloat },
        { sql: `avg(${column})`, approximate: isFloat },
      )
    }
    if (type.ordered && !['bool', 'uuid', 'bytea', 'jsonb', 'interval'].includes(type.castName)) {
      found.push(
        { sql: `min(${column})`, approximate: false },
        { sql: `max(${column})`, approximate: false },
      )
    }
    if (type.group === 'bool') found.push({ sql: `bool_and(${column})`, approximate: false })
  }
  if (table.vector !== undefined)
    found.push({ sql: `count(${prefix}${table.vector.name})`, approximate: false })
  return found
}

function aggregateListArb(table: DataTable, prefix = ''): fc.Arbitrary<readonly Aggregate[]> {
  return fc.array(fc.constantFrom(...aggregatesOf(table, prefix)), { minLength: 1, maxLength: 4 })
}

function aggregates(table: DataTable): fc.Arbitrary<Draft> {
  return fc.tuple(aggregateListArb(table), whereArb(table)).map(
    ([list, where]): Draft => ({
      fragment: (writer) =>
        `SELECT ${list.map(({ sql }, i) => `${sql} AS a${i}`).join(', ')} FROM ${table.name}${where(writer)}`,
      agreement: { order: 'total', anySpelling: true, approximate: approximateOf(list, 0) },
    }),
  )
}

function approximateOf(list: readonly Aggregate[], first: number): readonly number[] {
  return list.flatMap(({ approximate }, i) => (approximate ? [first + i] : []))
}

/** Of 24 hours and 1 day, which are equal, either may stand for the group: not to be compared as text. */
function groupable(table: DataTable): readonly DataColumn[] {
  return columnsOf(table).filter(({ type }) => type.ordered && type.castName !== 'interval')
}

function grouped(table: DataTable): fc.Arbitrary<Draft> {
  const ordered = groupable(table)
  const keys = fc.uniqueArray(fc.constantFrom(...ordered.map(({ name }) => name), 'id % 5'), {
    minLength: 1,
    maxLength: 2,
  })
  const having = fc.constantFrom('', '', ' HAVING count(*) > 1')
  return fc
    .tuple(keys, aggregateListArb(table), whereArb(table), having, fc.boolean())
    .map(([by, list, where, filter, sort]): Draft => {
      const names = by.map((_, i) => `k${i}`)
      const order = sort ? ` ORDER BY ${names.join(', ')} LIMIT 7` : ''
      const select = [
        ...by.map((key, i) => `${key} AS k${i}`),
        ...list.map(({ sql }, i) => `${sql} AS a${i}`),
      ].join(', ')
      return {
        fragment: (writer) =>
          `SELECT ${select} FROM ${table.name}${where(writer)} GROUP BY ${names.map((_, i) => String(i + 1)).join(', ')}${filter}${order}`,
        agreement: {
          order: sort ? 'total' : 'bag',
          anySpelling: true,
          approximate: approximateOf(list, by.length),
        },
      }
    })
}

function distinct(table: DataTable): fc.Arbitrary<Draft> {
  const ordered = groupable(table)
  return fc
    .tuple(
      fc.uniqueArray(fc.constantFrom(...ordered), { minLength: 1, maxLength: 2 }),
      whereArb(table),
      cutArb(false),
      fc.boolean(),
    )
    .map(([columns, where, { sql: cut, cut: isCut }, on]): Draft => {
      const names = columns.map(({ name }) => name).join(', ')
      if (on) {
        return {
          fragment: (writer) =>
            `SELECT DISTINCT ON (${names}) ${names}, id FROM ${table.name}${where(writer)} ORDER BY ${names}, id${cut(writer)}`,
          agreement: { order: 'total' },
        }
      }
      return {
        fragment: (writer) =>
          `SELECT DISTINCT ${names} FROM ${table.name}${where(writer)}${isCut ? ` ORDER BY ${names}` : ''}${cut(writer)}`,
        agreement: { order: isCut ? 'total' : 'bag', anySpelling: true },
      }
    })
}

function joins(a: DataTable, b: DataTable): fc.Arbitrary<Draft> {
  const forms = fc.constantFrom(
    'JOIN',
    'LEFT JOIN',
    'FULL JOIN',
    'IN',
    'EXISTS',
    'NOT IN',
    'LATERAL',
    'UNION',
    'EXCEPT',
  )
  return fc
    .tuple(forms, conditionArb(a, 'a.'), conditionArb(b, 'b.'), listArb(a, 'a.'))
    .map(([form, left, right, list]): Draft => {
      const from = `${a.name} AS a`
      const other = `${b.name} AS b`
      const bag: Agreement = { order: 'bag' }
      switch (form) {
        case 'JOIN':
        case 'LEFT JOIN':
          return {
            fragment: (writer) =>
              `SELECT ${list}, b.* FROM ${from} ${form} ${other} ON a.id = b.id AND ${right(writer)} WHERE ${left(writer)}`,
            agreement: bag,
          }
        case 'FULL JOIN':
          return {
            fragment: (writer) =>
              `SELECT a.id, b.id FROM ${from} FULL JOIN ${other} ON a.id = b.id + 3 WHERE ${left(writer)} OR ${right(writer)}`,
            agreement: bag,
          }
        case 'IN':
        case 'NOT IN':
          return {
            fragment: (writer) =>
              `SELECT ${list} FROM ${from} WHERE a.id ${form} (SELECT b.id FROM ${other} WHERE ${right(writer)}) AND ${left(writer)}`,
            agreement: bag,
          }
        case 'EXISTS':
          return {
            fragment: (writer) =>
              `SELECT ${list} FROM ${from} WHERE EXISTS (SELECT 1 FROM ${other} WHERE b.id = a.id + 1 AND ${right(writer)}) OR ${left(writer)}`,
            agreement: bag,
          }
        case 'LATERAL':
          return {
            fragment: (writer) =>
              `SELECT a.id, l.n FROM ${from}, LATERAL (SELECT count(*) AS n FROM ${other} WHERE b.id < a.id % 7 AND ${right(writer)}) AS l WHERE ${left(writer)}`,
            agreement: bag,
          }
        case 'UNION':
        case 'EXCEPT':
          return {
            fragment: (writer) =>
              `SELECT a.id FROM ${from} WHERE ${left(writer)} ${form} SELECT b.id FROM ${other} WHERE ${right(writer)}`,
            agreement: bag,
          }
      }
    })
}

function windows(table: DataTable): fc.Arbitrary<Draft> {
  return fc
    .tuple(sortKeysArb(columnsOf(table)), conditionArb(table))
    .map(([keys, condition]): Draft => {
      const order = [...keys.map(({ sql }) => sql), 'id'].join(', ')
      return {
        fragment: (writer) =>
          `SELECT id, row_number() OVER (ORDER BY ${order}), lag(id) OVER (PARTITION BY id % 3 ORDER BY ${order}), count(*) OVER () FROM ${table.name} WHERE ${condition(writer)}`,
        agreement: { order: 'bag' },
      }
    })
}

/** UPDATE and DELETE find the rows that a SELECT finds. */
function changing(table: DataTable): fc.Arbitrary<Draft> {
  const forms = fc.constantFrom('DELETE FROM', 'UPDATE')
  return fc.tuple(forms, conditionArb(table)).map(([form, condition]): Draft => {
    const set = form === 'UPDATE' ? ' SET id = id' : ''
    return {
      fragment: (writer) => `${form} ${table.name}${set} WHERE ${condition(writer)} RETURNING id`,
      reference: (writer) => `SELECT id FROM ${table.name} WHERE ${condition(writer)}`,
      agreement: { order: 'bag' },
    }
  })
}

/** Rows and columns that the statement reaches without naming them: through views, functions, whole rows. */
function behind(a: DataTable, b: DataTable): fc.Arbitrary<Draft> {
  const forms = fc.constantFrom('view', 'scalar', 'row', 'stable', 'volatile', 'condition')
  return fc
    .tuple(forms, conditionArb(a, 'a.'), fc.integer({ min: 0, max: 60 }))
    .map(([form, condition, id]): Draft => {
      const from = `FROM ${a.name} AS a`
      const renamed = b.columns.map((column) => `v.of_${column.name}`)
      const plain = b.columns.map(({ name }) => `b.${name} AS of_${name}`)
      const select = (sql: string): Fragment => {
        return (writer) => `${sql} ${condition(writer)}`
      }
      const count = `(SELECT count(*) FROM ${b.name} WHERE id > ${id})`
      const agreement: Agreement = { order: 'bag' }
      switch (form) {
        case 'view':
          return {
            fragment: select(
              `SELECT a.id, ${renamed.join()} ${from} JOIN ${b.name}_view AS v ON v.of_id = a.id WHERE`,
            ),
            reference: select(
              `SELECT a.id, ${plain.join()} ${from} JOIN ${b.name} AS b ON b.id = a.id WHERE`,
            ),
            agreement,
          }
        case 'scalar':
          return {
            fragment: select(
              `SELECT a.id, (SELECT max(v.of_id) FROM ${b.name}_view AS v WHERE v.of_id < a.id) AS m ${from} WHERE`,
            ),
            reference: select(
              `SELECT a.id, (SELECT max(b.id) FROM ${b.name} AS b WHERE b.id < a.id) AS m ${from} WHERE`,
            ),
            agreement,
          }
        case 'row': {
          const vector = a.vector === undefined ? [] : [`a.${a.vector.name}`]
          const all = [...columnsOf(a).map(({ name }) => `a.${name}`), ...vector]
          return {
            fragment: select(`SELECT a.id, md5(a::text) ${from} WHERE`),
            reference: select(`SELECT a.id, md5(ROW(${all.join()})::text) ${from} WHERE`),
            agreement,
          }
        }
        case 'stable':
        case 'volatile':
          return {
            fragment: select(`SELECT a.id, ${b.name}_${form}(${id}) AS n ${from} WHERE`),
            reference: select(`SELECT a.id, ${count} AS n ${from} WHERE`),
            agreement,
          }
        case 'condition':
          return {
            fragment: select(`SELECT a.id ${from} WHERE a.id > ${b.name}_stable(${id}) AND`),
            reference: select(`SELECT a.id ${from} WHERE a.id > ${count} AND`),
            agreement,
          }
      }
    })
}

/** ORDER BY distance LIMIT k, in the forms people write. */
function nearest(table: DataTable): fc.Arbitrary<Draft> {
  const { vector } = table
  if (vector === undefined) return filtered(table)
  const forms = fc.constantFrom(
    'total',
    'keys',
    'total',
    'keys',
    'cte',
    'function',
    'output',
    'cast',
    'subselect',
  )
  return fc
    .tuple(
      fc.constantFrom(...metrics),
      vectorArb(vector),
      whereArb(table),
      cutArb(true),
      forms,
      listArb(table),
      fc.integer({ min: 1, max: 60 }),
    )
    .map(([metric, query, where, { sql: cut }, form, list, id]): Draft => {
      const distance: Fragment = (writer) => `${vector.name} ${metric} ${query(writer)}`
      const calls: Record<string, string> = {
        '<->': 'l2_distance',
        '<#>': 'vector_negative_inner_product',
        '<=>': 'cosine_distance',
        '<+>': 'l1_distance',
      }
      switch (form) {
        case 'total':
          return {
            fragment: (writer) =>
              `SELECT ${list} FROM ${table.name}${where(writer)} ORDER BY ${distance(writer)}, id${cut(writer)}`,
            agreement: { order: 'total' },
          }
        case 'cte':
          return {
            fragment: (writer) =>
              `WITH near AS MATERIALIZED (SELECT *, ${distance(writer)} AS d FROM ${table.name}${where(writer)} ORDER BY d, id${cut(writer)}) SELECT id, d FROM near ORDER BY d, id`,
            agreement: { order: 'total' },
          }
        case 'function':
          return {
            fragment: (writer) =>
              `SELECT id FROM ${table.name}${where(writer)} ORDER BY ${calls[metric]}(${vector.name}, ${query(writer)}), id${cut(writer)}`,
            agreement: { order: 'total' },
          }
        case 'output':
          return {
            fragment: (writer) =>
              `SELECT ${distance(writer)} AS d FROM ${table.name}${where(writer)} ORDER BY d${cut(writer)}`,
            agreement: { order: 'total', anySpelling: true },
          }
        case 'cast':
          return {
            fragment: (writer) =>
              `SELECT id FROM ${table.name}${where(writer)} ORDER BY (${distance(writer)})::real, id${cut(writer)}`,
            agreement: { order: 'total' },
          }
        case 'subselect':
          return {
            fragment: (writer) =>
              `SELECT id FROM ${table.name}${where(writer)} ORDER BY ${vector.name} ${metric} (SELECT ${vector.name} FROM ${table.name} WHERE id = ${id}), id${cut(writer)}`,
            agreement: { order: 'total' },
          }
        default:
          return {
            fragment: (writer) =>
              `SELECT ${distance(writer)} AS d, ${list} FROM ${table.name}${where(writer)} ORDER BY ${distance(writer)}${cut(writer)}`,
            agreement: { order: 'keys', keys: [0], cut: true },
          }
      }
    })
}

/** Similarities: falling instead of rising, with and without NULLS LAST. */
function similar(table: DataTable): fc.Arbitrary<Draft> {
  const { vector } = table
  if (vector === undefined) return filtered(table)
  const forms = fc.constantFrom<(query: string) => string>(
    (query) => `1 - (${vector.name} <=> ${query})`,
    (query) => `inner_product(${vector.name}, ${query})`,
    (query) => `(${vector.name} <#> ${query}) * -1`,
    (query) => `- (${vector.name} <-> ${query})`,
    (query) => `(2 - (${vector.name} <+> ${query})) * 0.5`,
    (query) => `1 / (1 + (${vector.name} <-> ${query}))`,
  )
  return fc
    .tuple(forms, vectorArb(vector), whereArb(table), cutArb(true), directions, fc.boolean())
    .map(([form, query, where, { sql: cut }, direction, total]): Draft => {
      if (total) {
        return {
          fragment: (writer) =>
            `SELECT id, ${form(query(writer))} AS s FROM ${table.name}${where(writer)} ORDER BY s${direction}, id${cut(writer)}`,
          agreement: { order: 'total' },
        }
      }
      return {
        fragment: (writer) =>
          `SELECT ${form(query(writer))} AS s, id FROM ${table.name}${where(writer)} ORDER BY s${direction}${cut(writer)}`,
        agreement: { order: 'keys', keys: [0], cut: true },
      }
    })
}
