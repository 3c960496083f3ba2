import { expect, test } from 'vitest'
import type { Timestamp } from '#base/timestamp.js'
import { RecentReferences } from '#nodes/streaming/recent-references.js'

const at = (time: number) => time as Timestamp

test('a reference is seen by whoever read before it', () => {
  const references = new RecentReferences()
  references.add(7, 1, { at: at(10), indexOid: 5, key: 'k' })
  expect(references.since(7, 1, at(9))).toMatchObject({ key: 'k' })
  expect(references.since(7, 1, at(10))).toBeUndefined()
  expect(references.since(7, 2, at(9))).toBeUndefined()
  expect(references.isForgotten(at(9))).toBe(false)
})

test('whoever read before what is forgotten is told so', () => {
  const references = new RecentReferences(2)
  for (const row of [1, 2, 3]) references.add(7, row, { at: at(10 + row), indexOid: 5, key: 'k' })
  expect(references.since(7, 1, at(5))).toBeUndefined()
  expect(references.isForgotten(at(10))).toBe(true)
  expect(references.isForgotten(at(11))).toBe(false)
  references.forgetBefore(at(20))
  expect(references.isForgotten(at(19))).toBe(true)
})
