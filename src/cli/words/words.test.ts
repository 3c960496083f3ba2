import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeCopyBinary, encodeCopyText } from '#cli/words/encode-copy.js'
import { wordDimensions } from '#cli/words/fetch-words.js'
import { fewestRows, recallOf } from '#cli/words/nearest.js'
import { shuffledIndexes } from '#cli/words/random.js'
import { categories, makeWordTable, queryWordCount, vectorText } from '#cli/words/word-table.js'

const rowCount = 20_000

function makeSource(words = (i: number) => `word ${i}`) {
  const count = rowCount + queryWordCount
  return {
    words: Array.from({ length: count }, (_, i) => words(i)),
    vectors: Float32Array.from({ length: count * wordDimensions }, (_, i) => i % 251),
  }
}

test('a shuffle is a permutation and depends on the seed alone', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.nat(), (count, seed) => {
      const order = shuffledIndexes(count, seed)
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
      expect(shuffledIndexes(count, seed)).toEqual(order)
    }),
  )
  expect(shuffledIndexes(100, 1)).not.toEqual(shuffledIndexes(100, 2))
})

test('each category keeps exactly its share, and no query is a row', () => {
  const source = makeSource()
  const table = makeWordTable(source)
  expect(table.rowCount).toBe(rowCount)
  for (const { name, share } of categories) {
    expect(table.categoryOf.filter((category) => category === name)).toHaveLength(share * rowCount)
  }
  expect(new Set(table.words).size).toBe(rowCount)
  expect(table.queries).toHaveLength(queryWordCount * wordDimensions)
  const rank = table.rankOf[77] ?? 0
  expect(table.words[77]).toBe(`word ${rank - 1}`)
  expect(vectorText(table.vectors, 77, 100)).toBe(vectorText(source.vectors, rank - 1, 100))
})

test('COPY data has every row once, in blocks, in both formats', () => {
  const table = makeWordTable(makeSource((i) => `${i}\t\\ä`))
  const binary = [...encodeCopyBinary(table)]
  expect(binary.length).toBeGreaterThan(2)
  expect(binary.at(-1)?.rowsDone).toBe(rowCount)
  const bytes = Buffer.concat(binary.map((block) => block.bytes))
  expect(bytes.subarray(0, 11).toString('latin1')).toBe('PGCOPY\n\xff\r\n\0')
  let at = 19
  for (let row = 0; row < rowCount; row++) {
    expect(bytes.readInt16BE(at)).toBe(5)
    expect(bytes.readInt32BE(at + 6)).toBe(row + 1)
    at += 2
    for (let column = 0; column < 5; column++) at += 4 + bytes.readInt32BE(at)
  }
  expect(bytes.readInt16BE(at)).toBe(-1)
  expect(bytes.length).toBe(at + 2)

  const lines = Buffer.concat([...encodeCopyText(table)].map((block) => block.bytes))
    .toString()
    .split('\n')
  expect(lines).toHaveLength(rowCount + 1)
  const [id, word, , rank] = lines[5]?.split('\t') ?? []
  expect([id, word]).toEqual(['6', `${Number(rank) - 1}\\t\\\\ä`])
})

test('recall counts exact answers that were found; fewest rows is the worst query', () => {
  expect(
    recallOf(
      [[1, 2], [3]],
      [
        [1, 9],
        [3, 4],
      ],
    ),
  ).toBe(0.5)
  expect(recallOf([[]], [[]])).toBe(1)
  expect(fewestRows([[1, 2], [3]])).toBe(1)
})
