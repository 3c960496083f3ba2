import { beforeAll, describe, expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { loadParser, parseStatements } from '#postgres/classify.js'
import { liftVectorLiterals } from '#postgres/lift-literals.js'
import { collectFunctionNames, collectRelations, parameterCount } from '#postgres/tree-walk.js'

beforeAll(loadParser)

function tree(sql: string) {
  const [statement] = parseStatements(sql)
  if (statement === undefined) throw new Error('no statement')
  return statement.tree
}

describe('splitting', () => {
  test('statements keep their text and where it begins, also behind multi-byte characters', () => {
    const text = "select 'é✓' ; /* c */ insert into t values (1);;  select 2"
    const statements = parseStatements(text)
    expect(statements.map((s) => [s.kind, s.sql])).toEqual([
      ['select', "select 'é✓'"],
      ['insert', 'insert into t values (1)'],
      ['select', 'select 2'],
    ])
    for (const s of statements) expect(text.slice(s.offset, s.offset + s.sql.length)).toBe(s.sql)
  })

  test('nothing but blanks and comments is no statement', () => {
    for (const text of ['', ' ', ';', '-- c', '/* c */ ;; '])
      expect(parseStatements(text)).toEqual([])
  })

  test('kinds', () => {
    const kindOf = (sql: string) => parseStatements(sql)[0]?.kind
    expect(kindOf('values (1)')).toBe('select')
    expect(kindOf('table t')).toBe('select')
    expect(kindOf('select 1 into x')).toBe('createTableAs')
    expect(kindOf('select 1 into x union select 2')).toBe('createTableAs')
    expect(kindOf('create table a as select 1')).toBe('createTableAs')
    expect(kindOf('create index concurrently on t (a)')).toBe('ddl')
    expect(kindOf('comment on table t is null')).toBe('ddl')
    expect(kindOf('grant select on t to x')).toBe('ddl')
    expect(kindOf('begin isolation level serializable')).toBe('transaction')
    expect(kindOf('set local x.y = 1')).toBe('set')
    expect(kindOf('reset all')).toBe('set')
    expect(kindOf('with a as (delete from t returning *) select * from a')).toBe('select')
  })
})

describe('errors have the words, code and position of PostgreSQL', () => {
  test.each([
    ['selec 1', '42601', 'syntax error at or near "selec"', 1],
    ["select 'é', from x", '42601', 'syntax error at or near "from"', 13],
    ["select 'abc", '42601', 'unterminated quoted string at or near "\'abc"', 8],
    ['select 1 from', '42601', 'syntax error at end of input', 14],
    ['create assertion x check (1=1)', '0A000', 'CREATE ASSERTION is not yet implemented', 1],
  ])('%s', (sql, code, message, position) => {
    try {
      parseStatements(sql)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(DatabaseError)
      expect(error).toMatchObject({ sqlState: code, message, fields: { position } })
    }
  })

  test('text that is nested too deeply is refused and the parser lives on', () => {
    expect(() => parseStatements(`select 1${'+1'.repeat(30_000)}`)).toThrow(
      expect.objectContaining({ sqlState: '54001' }),
    )
    expect(parseStatements('select 1')).toHaveLength(1)
  })
})

describe('trees', () => {
  test('relations are found everywhere, common table expressions are none', () => {
    const names = (sql: string) => collectRelations(tree(sql)).map((r) => r.name)
    expect(names('select * from a join s.b on true where exists (select from c)')).toEqual([
      'a',
      'b',
      'c',
    ])
    expect(names('with a as (select * from a) select * from a')).toEqual(['a'])
    expect(
      names('with recursive a as (select 1 union select * from a) select * from a, b'),
    ).toEqual(['b'])
    expect(names('insert into t select * from u')).toEqual(['t', 'u'])
    expect(names('with t as (select 1) insert into t select * from t')).toEqual(['t'])
    expect(names('merge into t using u on t.a = u.a when matched then delete')).toEqual(['t', 'u'])
  })

  test('functions and parameters', () => {
    expect([...collectFunctionNames(tree('select f(1), s.g(h())'))].sort()).toEqual([
      'f',
      'h',
      's.g',
    ])
    expect(parameterCount(tree('select $2 where $1'))).toBe(2)
  })
})

describe('vector literals', () => {
  const vector = `[${Array.from({ length: 100 }, (_, i) => i / 7).join(',')}]`
  test('long ones become parameters', () => {
    expect(
      liftVectorLiterals(
        `select * from t where a = $1 order by e <-> '${vector}'::vector limit 5`,
        2,
      ),
    ).toEqual({
      sql: 'select * from t where a = $1 order by e <-> $2::vector limit 5',
      values: [vector],
    })
  })
  test('what is not certainly a plain literal stays', () => {
    for (const sql of [
      `select "a'${vector}'"`,
      `select vector '${vector}'`,
      `select E'${vector}'`,
      `select $$'${vector}'$$`,
      `-- '${vector}'\nselect 1`,
      `select '[1,2]' , '${'x'.repeat(300)}'`,
    ]) {
      expect(liftVectorLiterals(sql, 1)).toEqual({ sql, values: [] })
    }
  })
})
