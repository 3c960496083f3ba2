import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareAddresses } from '#postgres/capture.js'

test('rows that are gone and rows written into gaps are told apart', () => {
  const addresses = fc.uniqueArray(fc.nat(200), { maxLength: 100 })
  fc.assert(
    fc.property(
      addresses,
      fc.array(fc.boolean(), { maxLength: 200 }),
      addresses,
      (all, kept, written) => {
        const rising = (a: number, b: number): number => a - b
        const loaded = all.toSorted(rising)
        const left = loaded.filter((_, i) => kept[i] === true)
        const fresh = written.filter((address) => !loaded.includes(address)).toSorted(rising)
        const found = compareAddresses(loaded, [...left, ...fresh].sort(rising))
        expect([...found.removed]).toEqual(loaded.flatMap((_, i) => (kept[i] === true ? [] : [i])))
        const last = loaded.at(-1) ?? -1
        expect(found.strangers).toEqual(fresh.filter((address) => address < last))
      },
    ),
  )
})
