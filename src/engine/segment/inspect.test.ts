import fc from 'fast-check'
import { expect, test } from 'vitest'
import { describeManifest, describeSegmentFile } from '#engine/segment/inspect.js'
import { wholeRun } from '#engine/segment/row-runs.js'
import { rowsArbitrary, tableSchema } from '#engine/segment/segment.arbitrary.js'
import { planSealedSegment } from '#engine/segment/write-sealed.js'

test('a segment file and its manifest are described in words', async () => {
  const schema = tableSchema(['int32', 'vector'])
  const [rows] = fc.sample(rowsArbitrary(schema.columns, 9, 1, 9), { numRuns: 1, seed: 2 })
  const [first, second] = rows?.batch.columns ?? []
  if (rows === undefined || first === undefined || second === undefined) throw new Error('no rows')
  const { rowIds, inserted } = rows
  const input = { rowIds, inserted, column: (attnum: number) => (attnum === 1 ? first : second) }
  const plan = await planSealedSegment(7, 0, schema, [input], wholeRun(9), async () => {})
  const bytes = new Uint8Array(Buffer.concat([...plan.data.pieces()]))
  const words = describeSegmentFile(bytes).join('\n')
  expect(words).toContain('segmentId 7, tableId 1000, table public.rows')
  expect(words).toContain('9 rows')
  expect(words).toMatch(/a2 "column 2" vector, vector × 3, \d NULL, \d+ bytes, values at \d+/)
  const { data: _, ...facts } = plan
  const manifest = describeManifest({
    formatVersion: 1,
    segmentId: 7,
    tableId: 1000,
    shard: 0,
    incarnation: 1,
    data: { name: 'd', bytes: 5, checksum: 'aabbccdd' },
    indexes: [],
    ...facts,
  }).join('\n')
  expect(manifest).toContain('segment 7 of table 1000')
  expect(manifest).toContain('deletes  none')
  expect(manifest).toMatch(/column {3}1: \d NULL, 0x[0-9a-f]{8} to 0x[0-9a-f]{8}/)
})
