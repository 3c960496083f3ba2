import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ddlStatements } from '#postgres/ddl.arbitrary.js'
import { Kept } from '#postgres/embedded-fixture.js'

describe('a catalog kept by changes is the one that is read whole', () => {
  test('after generated statements', { timeout: 300_000 }, async () => {
    const property = fc.asyncProperty(ddlStatements, async (statements) => {
      const kept = await Kept.open()
      for (const sql of statements) {
        try {
          kept.run(sql)
        } catch (error) {
          if ((error as { sqlState?: string }).sqlState === undefined) throw error
          continue
        }
        expect(kept.current, sql).toEqual(kept.whole())
      }
    })
    await fc.assert(property, { numRuns: 2, endOnFailure: true })
  })

  test('of statements that are common, as a change', { timeout: 120_000 }, async () => {
    const kept = await Kept.open()
    const asChange = (...statements: string[]): void => {
      kept.run(...statements)
      expect(kept.current).toEqual(kept.whole())
      expect(kept.wasChange, statements.join('; ')).toBe(true)
    }
    asChange(
      'CREATE TABLE t (id bigserial PRIMARY KEY, a text UNIQUE, e vector(3)) WITH (shards = 2)',
    )
    asChange('CREATE TABLE u (id int GENERATED ALWAYS AS IDENTITY, t bigint REFERENCES t)')
    expect(kept.current.tablesByName.get('public.t')?.referencedBy).toHaveLength(1)
    asChange('CREATE INDEX ON t USING hnsw (e vector_l2_ops)')
    asChange('CREATE UNIQUE INDEX ON t (lower(a))')
    asChange('ALTER TABLE t ADD COLUMN b int DEFAULT 7')
    asChange('ALTER TABLE t ADD CHECK (b > 0)')
    asChange('ALTER TABLE u ADD FOREIGN KEY (id) REFERENCES t')
    asChange('CREATE TABLE p (id int) PARTITION BY RANGE (id)')
    asChange(
      'CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)',
      'CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (5)',
    )
    expect(kept.current.tablesByName.get('public.p')?.partitions).toHaveLength(1)
    asChange("CREATE TYPE color AS ENUM ('red')", 'CREATE TABLE v (c color)')
    // What is dropped, or renames what others print, is read whole; what comes after it is a change again.
    kept.run('DROP TABLE u')
    expect(kept.wasChange).toBe(false)
    expect(kept.current).toEqual(kept.whole())
    asChange('CREATE TABLE u (id int)')
  })
})
