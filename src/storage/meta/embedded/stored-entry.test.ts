import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeStoredEntry, encodeStoredEntry } from '#storage/meta/embedded/stored-entry.js'

const bytes = fc.uint8Array({ maxLength: 40 })
const revision = fc.nat(Number.MAX_SAFE_INTEGER)

test('what is encoded is decoded', () => {
  fc.assert(
    fc.property(bytes, revision, fc.boolean(), bytes, (key, wanted, isLeased, value) => {
      const entry = decodeStoredEntry(key, encodeStoredEntry(key, wanted, isLeased, value))
      expect(entry).toEqual({ revision: wanted, isLeased, value: Buffer.from(value) })
    }),
  )
})

test('no bit can be turned over, no byte cut off, and no value lie under another key', () => {
  fc.assert(
    fc.property(bytes, bytes, fc.nat(), fc.nat(7), (key, value, place, bit) => {
      const encoded = encodeStoredEntry(key, 5, false, value)
      const at = place % encoded.length
      // Bit 1 of the flags: without it, an entry of the first format, which had no checksum.
      fc.pre(at !== 8 || bit !== 1)
      const turned = Buffer.from(encoded)
      turned.writeUInt8(turned.readUInt8(at) ^ (1 << bit), at)
      const corrupted = expect.objectContaining({ sqlState: 'XX001' })
      expect(() => decodeStoredEntry(key, turned)).toThrow(corrupted)
      expect(() => decodeStoredEntry(key, encoded.subarray(0, at))).toThrow(corrupted)
      expect(() => decodeStoredEntry(Uint8Array.of(...key, 0), encoded)).toThrow(corrupted)
    }),
  )
})
