/** The grammar is the judge: what is read without it must be a statement that it reads the same. */
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadParser, parseStatements } from '#postgres/classify.js'
import { literalText, readLiteralInsert } from '#postgres/literal-insert.js'
import type { TreeNode } from '#postgres/tree-node.js'

beforeAll(loadParser)

/** kind, text and cast of each value of each row, by the grammar. The comment keeps the text from being read without it. */
function byGrammar(text: string): readonly (readonly unknown[])[] {
  const statements = parseStatements(`/**/${text}`)
  expect(statements).toHaveLength(1)
  const { SelectStmt: select = {} } = (statements[0]?.tree['selectStmt'] ?? {}) as TreeNode & {
    SelectStmt?: TreeNode
  }
  const lists = select['valuesLists'] as readonly { List: { items: readonly TreeNode[] } }[]
  return lists.map(({ List }) => List.items.map(constant))
}

function constant(item: TreeNode): readonly unknown[] {
  if (item['SetToDefault'] !== undefined) return ['default']
  const cast = item['TypeCast'] as { arg: TreeNode; typeName: TreeNode } | undefined
  if (cast !== undefined) {
    expect(cast.typeName['typmods']).toBeUndefined()
    const names = cast.typeName['names'] as readonly { String: { sval: string } }[]
    expect(names).toHaveLength(1)
    return [...constant(cast.arg), names[0]?.String.sval]
  }
  const value = item['A_Const'] as Record<string, Record<string, unknown> | boolean>
  if (value['isnull'] === true) return ['null']
  const [[type, body] = ['', {}]] = Object.entries(value).filter(([key]) => key !== 'location')
  const fields = body as Record<string, unknown>
  switch (type) {
    case 'sval':
      return ['quoted', fields['sval'] ?? '']
    case 'ival':
      return ['integer', String(fields['ival'] ?? 0)]
    case 'fval':
      return [String(fields['fval']).includes('.') ? 'decimal' : 'integer', fields['fval']]
    case 'boolval':
      return ['boolean', String(fields['boolval'] ?? false)]
    default:
      throw new Error(type)
  }
}

function withoutGrammar(text: string): readonly (readonly unknown[])[] | undefined {
  const read = readLiteralInsert(text)
  return read?.rows.map((row) =>
    row.map((literal) => {
      const { kind, cast } = literal
      const value = literalText(read, literal)
      const said =
        kind === 'null' || kind === 'default'
          ? []
          : [kind === 'integer' ? String(BigInt(value)) : value.toLowerCase()]
      return [kind, ...(kind === 'quoted' ? [value] : said), ...(cast === undefined ? [] : [cast])]
    }),
  )
}

const blanks = fc.constantFrom('', ' ', '\n', '\t ')
const quoted = fc
  .string({
    unit: fc.constantFrom('a', "''", ',', '(', ')', ';', '[1,2]', 'é', '😀', '-', '/*', '$1'),
  })
  .map((text) => `'${text}'`)
const value = fc.oneof(
  quoted,
  fc.tuple(quoted, fc.constantFrom('::vector', '::text')).map((parts) => parts.join('')),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  fc.tuple(fc.integer(), fc.nat(999)).map(([whole, part]) => `${whole}.${part}`),
  fc.constantFrom('NULL', 'null', 'true', 'FALSE', 'NULL::vector'),
)
/** What has a meaning of its own beside others, or is none. */
const odd = fc.constantFrom(
  ...[
    "E'a'",
    "'a' 'b'",
    "'a'\n'b'",
    '1.',
    '.5',
    '+1',
    '1e3',
    '0x1f',
    '1_000',
    '- 1',
    '--1',
    '1::int8',
    "'a'::varchar(3)",
  ],
  ...[
    'now()',
    '$1',
    '(1)',
    "'a' || 'b'",
    "U&'a'",
    "X'1f'",
    'nullx',
    '',
    "'a",
    "'a'::double precision",
    '/**/1',
    'default',
  ],
  ...[
    "'a'::pg_catalog.text",
    "'{1}'::int[]",
    '-1::int4',
    '1a',
    "'\\'",
    'null null',
    '\'a\'::"T"',
    '\'a\' collate "C"',
  ],
)
const statement = (values: fc.Arbitrary<string>) =>
  fc
    .record({
      before: blanks,
      table: fc.constantFrom('t', 'public.t', '"T t"', 'a . b', 't as x', 'values', 'select'),
      columns: fc.constantFrom('', '(a)', ' (a, b)', '(a,"B b")', '(a.b)', '(a[1])', '()'),
      rows: fc.array(fc.array(fc.tuple(blanks, values, blanks), { minLength: 1, maxLength: 3 }), {
        minLength: 1,
        maxLength: 3,
      }),
      after: fc.constantFrom(
        '',
        ';',
        ' ; ',
        ' RETURNING a',
        ' returning *;',
        ' ON CONFLICT DO NOTHING',
        '; SELECT 1',
        ',',
        ')',
      ),
    })
    .map(({ before, table, columns, rows, after }) => {
      const lists = rows.map((row) => `(${row.map((parts) => parts.join('')).join(',')})`)
      return `${before}insert into ${table} ${columns} VALUES ${lists.join(', ')}${after}`
    })

describe('literals are read as the grammar reads them', () => {
  test('whatever is taken means the same', () => {
    let taken = 0
    const values = fc.oneof({ weight: 30, arbitrary: value }, { weight: 1, arbitrary: odd })
    fc.assert(
      fc.property(statement(values), (text) => {
        const found = withoutGrammar(text)
        if (found === undefined || readLiteralInsert(text) === undefined) return
        const [parsed] = parseOrNothing(text)
        // A template that is no statement: the grammar is asked for the whole text.
        if (parsed?.literals === undefined) return
        taken += 1
        expect(found).toEqual(byGrammar(text))
        const [judge] = parseStatements(`/**/${text}`)
        expect(parsed.sql).toBe(judge?.sql)
        expect(parsed.kind).toBe(judge?.kind)
        expect(parsed.offset + 4).toBe(judge?.offset)
        expect(parsed.byteOffset + 4).toBe(judge?.byteOffset)
      }),
      { numRuns: 3000 },
    )
    expect(taken).toBeGreaterThan(200)
  })

  test('what has no one meaning is left to the grammar', () => {
    fc.assert(
      fc.property(odd, (text) => {
        if (text === 'default') return
        expect(readLiteralInsert(`INSERT INTO t VALUES (1, ${text})`)).toBeUndefined()
      }),
    )
    for (const text of [
      'INSERT INTO t VALUES (1), (DEFAULT)',
      'INSERT INTO t VALUES (1), (1, 2)',
      'INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING',
      "INSERT INTO t VALUES (1) RETURNING 'a'",
      'INSERT INTO t VALUES (1); SELECT 1',
      'INSERT INTO t SELECT 1',
      'WITH a AS (SELECT 1) INSERT INTO t VALUES (1)',
    ])
      expect(readLiteralInsert(text)).toBeUndefined()
  })

  test('one template for many texts', () => {
    const one = readLiteralInsert(" INSERT INTO t (a, b, c) VALUES (1, '[1,2]', DEFAULT);")
    const more = readLiteralInsert(
      "INSERT INTO t (a, b, c) VALUES (2,'x''y',default), (3,NULL,DEFAULT)",
    )
    expect(one?.template).toBe('INSERT INTO t (a, b, c) VALUES ($1, $2, DEFAULT)')
    expect(more?.template).toBe(one?.template)
  })

  test('errors of the grammar are those of the whole text', () => {
    expect(() => parseStatements('INSERT INTO select VALUES (1)')).toThrow(
      'syntax error at or near "select"',
    )
  })
})

function parseOrNothing(text: string) {
  try {
    return parseStatements(text)
  } catch {
    return []
  }
}
