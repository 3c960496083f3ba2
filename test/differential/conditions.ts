/** WHERE clauses over one table. */
import fc from 'fast-check'
import type { DataColumn, DataTable, VectorColumn } from './dataset.js'
import { comparable, comparableArb, type Fragment, valueArb, vectorArb } from './fragment.js'
import { metrics, quote, types } from './values.js'

const idColumn: DataColumn = {
  name: 'id',
  type: types.find((type) => type.name === 'int4') ?? failNoType(),
}

function failNoType(): never {
  throw new Error('there is no int4')
}

export function columnsOf(table: DataTable): readonly DataColumn[] {
  return [idColumn, ...table.columns]
}

const operators = fc.constantFrom('=', '<>', '<', '<=', '>', '>=')

/** @param prefix alias and a dot, or nothing */
export function conditionArb(table: DataTable, prefix = ''): fc.Arbitrary<Fragment> {
  const { condition } = fc.letrec<{ condition: Fragment; atom: Fragment }>((tie) => ({
    atom: atomArb(table, prefix),
    condition: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'condition' },
      { weight: 5, arbitrary: tie('atom') },
      {
        weight: 2,
        arbitrary: fc.array(tie('condition'), { minLength: 2, maxLength: 3 }).map(joined(' AND ')),
      },
      {
        weight: 2,
        arbitrary: fc.array(tie('condition'), { minLength: 2, maxLength: 3 }).map(joined(' OR ')),
      },
      {
        weight: 1,
        arbitrary: tie('condition').map(
          (inner): Fragment =>
            (writer) =>
              `NOT (${inner(writer)})`,
        ),
      },
    ),
  }))
  return condition
}

function joined(separator: string): (parts: readonly Fragment[]) => Fragment {
  return (parts) => (writer) => `(${parts.map((part) => part(writer)).join(separator)})`
}

function atomArb(table: DataTable, prefix: string): fc.Arbitrary<Fragment> {
  const columns = columnsOf(table)
  const column = fc.constantFrom(...columns)
  const atoms: fc.WeightedArbitrary<Fragment>[] = [
    { weight: 8, arbitrary: column.chain((chosen) => comparisonArb(chosen, prefix)) },
    { weight: 3, arbitrary: column.chain((chosen) => memberArb(chosen, prefix)) },
    { weight: 2, arbitrary: column.chain((chosen) => betweenArb(chosen, prefix)) },
    {
      weight: 2,
      arbitrary: fc.tuple(column, fc.constantFrom('IS NULL', 'IS NOT NULL')).map(
        ([{ name }, test]): Fragment =>
          () =>
            `${prefix}${name} ${test}`,
      ),
    },
    { weight: 2, arbitrary: idArb(prefix) },
    { weight: 1, arbitrary: columnPairArb(columns, prefix) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('true', 'false', 'NULL::bool', '1 = 1').map(
        (sql): Fragment =>
          () =>
            sql,
      ),
    },
  ]
  const texts = columns.filter(({ type }) => type.group === 'text')
  if (texts.length > 0)
    atoms.push({
      weight: 4,
      arbitrary: fc.constantFrom(...texts).chain((chosen) => patternArb(chosen, prefix)),
    })
  const bools = columns.filter(({ type }) => type.group === 'bool')
  if (bools.length > 0) {
    const tests = fc.constantFrom(
      '',
      ' IS TRUE',
      ' IS NOT TRUE',
      ' IS FALSE',
      ' IS NOT FALSE',
      ' IS UNKNOWN',
    )
    atoms.push({
      weight: 3,
      arbitrary: fc.tuple(fc.constantFrom(...bools), tests).map(
        ([{ name }, test]): Fragment =>
          () =>
            `${prefix}${name}${test}`,
      ),
    })
  }
  const numbers = columns.filter(({ type }) => type.group === 'number')
  atoms.push({
    weight: 2,
    arbitrary: fc.constantFrom(...numbers).chain((chosen) => arithmeticArb(chosen, prefix)),
  })
  const documents = columns.filter(({ type }) => type.group === 'json')
  if (documents.length > 0)
    atoms.push({
      weight: 3,
      arbitrary: fc.constantFrom(...documents).chain(({ name }) => documentArb(`${prefix}${name}`)),
    })
  if (table.vector !== undefined)
    atoms.push({ weight: 2, arbitrary: rangeArb(table.vector, prefix) })
  return fc.oneof(...atoms)
}

function comparisonArb({ name, type }: DataColumn, prefix: string): fc.Arbitrary<Fragment> {
  const forms = fc.constantFrom('plain', 'plain', 'plain', 'mirrored', 'distinct')
  return fc.tuple(operators, comparableArb(type), forms).map(
    ([operator, value, form]): Fragment =>
      (writer) => {
        const column = `${prefix}${name}`
        if (form === 'mirrored') return `${value(writer)} ${operator} ${column}`
        if (form === 'distinct') return `${column} IS DISTINCT FROM ${value(writer)}`
        return `${column} ${operator} ${value(writer)}`
      },
  )
}

function memberArb({ name, type }: DataColumn, prefix: string): fc.Arbitrary<Fragment> {
  const forms = fc.constantFrom('IN', 'NOT IN', '= ANY', '<> ALL', '> ANY')
  const values = fc.array(valueArb(type), { minLength: 1, maxLength: 4 })
  return fc.tuple(forms, values).map(
    ([form, items]): Fragment =>
      (writer) => {
        const list = items.map((item) => item(writer)).join(', ')
        if (form === 'IN' || form === 'NOT IN') return `${prefix}${name} ${form} (${list})`
        // An array of arrays would be one array of more dimensions.
        if (type.castName.endsWith('[]')) return `${prefix}${name} IN (${list})`
        return `${prefix}${name} ${form} (ARRAY[${list}])`
      },
  )
}

function betweenArb({ name, type }: DataColumn, prefix: string): fc.Arbitrary<Fragment> {
  const words = fc.constantFrom('BETWEEN', 'NOT BETWEEN', 'BETWEEN SYMMETRIC')
  return fc.tuple(words, valueArb(type), valueArb(type)).map(
    ([word, low, high]): Fragment =>
      (writer) =>
        `${prefix}${name} ${word} ${low(writer)} AND ${high(writer)}`,
  )
}

function idArb(prefix: string): fc.Arbitrary<Fragment> {
  const id = fc.integer({ min: 0, max: 260 })
  return fc.oneof(
    fc.tuple(id, fc.constantFrom('literal', 'text', 'binary')).map(([value, as]): Fragment => {
      const bytes = idColumn.type.toBinary?.(String(value))
      return (writer) =>
        `${prefix}id = ${writer.value({ castName: 'int4', oid: 23, value: String(value), bytes, as: as === 'literal' ? 'bare' : as === 'text' ? 'text' : 'binary' })}`
    }),
    fc.array(id, { minLength: 0, maxLength: 6 }).map((ids): Fragment => {
      return (writer) =>
        `${prefix}id = ANY(${writer.value({ castName: 'int4[]', oid: 1007, value: `{${ids.join(',')}}`, bytes: undefined, as: 'text' })})`
    }),
    fc.tuple(id, id).map(
      ([a, b]): Fragment =>
        () =>
          `${prefix}id BETWEEN ${Math.min(a, b)} AND ${Math.max(a, b)}`,
    ),
    id.map(
      (value): Fragment =>
        () =>
          `${prefix}id = ${value}::int8`,
    ),
    id.map(
      (value): Fragment =>
        () =>
          `${prefix}id = ${value}.5`,
    ),
    id.map(
      (value): Fragment =>
        () =>
          `${prefix}id % 3 = ${value % 3}`,
    ),
  )
}

function columnPairArb(columns: readonly DataColumn[], prefix: string): fc.Arbitrary<Fragment> {
  const pairs = columns.flatMap((left) =>
    columns
      .filter((right) => comparable(left.type, right.type))
      .map((right) => [left.name, right.name] as const),
  )
  return fc.tuple(fc.constantFrom(...pairs), operators).map(
    ([[left, right], operator]): Fragment =>
      () =>
        `${prefix}${left} ${operator} ${prefix}${right}`,
  )
}

const patterns = [
  '%',
  '',
  '_',
  'a%',
  '%a',
  '%a%',
  'a_b',
  'a\\%b',
  'a\\_b',
  '__',
  '%\\\\%',
  'A%',
  '%ä%',
  '_%_',
  '😀%',
  'a%b%',
  '%%',
  "o'neil",
  '%1%2%',
  '%日_',
]

function patternArb({ name, type }: DataColumn, prefix: string): fc.Arbitrary<Fragment> {
  const column = `${prefix}${name}`
  const words = fc.constantFrom('LIKE', 'LIKE', 'NOT LIKE', 'ILIKE', 'NOT ILIKE')
  const literal = fc.tuple(words, fc.constantFrom(...patterns)).map(
    ([word, pattern]): Fragment =>
      () =>
        `${column} ${word} ${quote(pattern)}`,
  )
  const parameter = fc.tuple(words, fc.constantFrom(...patterns)).map(
    ([word, pattern]): Fragment =>
      (writer) =>
        `${column} ${word} ${writer.value({ castName: 'text', oid: 25, value: pattern, bytes: new TextEncoder().encode(pattern), as: 'binary' })}`,
  )
  const functions = fc
    .tuple(fc.constantFrom('lower', 'upper', 'trim'), operators, valueArb(type))
    .map(
      ([call, operator, value]): Fragment =>
        (writer) =>
          `${call}(${column}) ${operator} ${value(writer)}`,
    )
  const more = fc
    .constantFrom(
      `length(${column}) > 1`,
      `${column} ~ '^[a-z]'`,
      `${column} || 'x' = 'ax'`,
      `left(${column}, 1) = 'a'`,
      `starts_with(${column}, 'a')`,
      `${column} COLLATE "C" > 'a'`,
    )
    .map(
      (sql): Fragment =>
        () =>
          sql,
    )
  return fc.oneof(literal, parameter, functions, more)
}

function arithmeticArb({ name, type }: DataColumn, prefix: string): fc.Arbitrary<Fragment> {
  const column = `${prefix}${name}`
  return fc.oneof(
    fc.tuple(operators, valueArb(type)).map(
      ([operator, value]): Fragment =>
        (writer) =>
          `${column}::numeric * 2 ${operator} (${value(writer)})::numeric`,
    ),
    fc
      .constantFrom(
        `${column}::numeric % 2 = 1`,
        `abs(${column}::numeric) < 3`,
        `coalesce(${column}, 0) = 0`,
        `nullif(${column}, 1) IS NULL`,
        `CASE WHEN ${column} > 0 THEN true END`,
        `- ${column}::numeric > 0`,
      )
      .map(
        (sql): Fragment =>
          () =>
            sql,
      ),
  )
}

function documentArb(column: string): fc.Arbitrary<Fragment> {
  const sql = fc.constantFrom(
    `${column} @> '{"a": 1}'`,
    `${column} ? 'a'`,
    `${column}->>'a' = 'x'`,
    `${column}->'a' IS NULL`,
    `jsonb_typeof(${column}) = 'object'`,
    `${column} = '1'`,
    `${column} #>> '{a,b}' LIKE 'ä%'`,
  )
  return sql.map(
    (text): Fragment =>
      () =>
        text,
  )
}

function rangeArb(vector: VectorColumn, prefix: string): fc.Arbitrary<Fragment> {
  const radius = fc.constantFrom(
    '0',
    '0.5',
    '1',
    '2.5',
    '10',
    '-1',
    '-10',
    '1e10',
    "'NaN'::float8",
    "'Infinity'::float8",
    '3',
    '1::float4',
  )
  const forms = fc.constantFrom('plain', 'plain', 'mirrored', 'similarity', 'function')
  return fc.tuple(fc.constantFrom(...metrics), operators, vectorArb(vector), radius, forms).map(
    ([metric, operator, query, limit, form]): Fragment =>
      (writer) => {
        const column = `${prefix}${vector.name}`
        if (form === 'mirrored') return `${query(writer)} ${metric} ${column} ${operator} ${limit}`
        if (form === 'similarity')
          return `1 - (${column} ${metric} ${query(writer)}) ${operator} ${limit}`
        if (form === 'function')
          return `l2_distance(${column}, ${query(writer)}) ${operator} ${limit}`
        return `${column} ${metric} ${query(writer)} ${operator} ${limit}`
      },
  )
}
