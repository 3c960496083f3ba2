import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import {
  decodeLogRecord,
  encodeLogRecord,
  type LogRecordContent,
} from '#nodes/streaming/log-record.js'

const oid = fc.nat(0xffff_ffff)
const exact = fc.nat(Number.MAX_SAFE_INTEGER)
const rowIds = fc.array(exact, { maxLength: 5 }).map((ids) => Float64Array.from(ids).sort())
const id = fc.string({ minLength: 1, maxLength: 12 })
const keyFields = {
  tableId: oid,
  indexOid: oid,
  key: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
}
const writes = fc.array(
  fc.record({
    tableId: oid,
    shard: fc.nat(8191),
    incarnation: oid,
    truncate: fc.boolean(),
    deletes: rowIds,
  }),
  { maxLength: 4 },
)
const record: fc.Arbitrary<LogRecordContent> = fc.oneof(
  fc.record({
    kind: fc.constant('rows' as const),
    tableId: oid,
    shard: fc.nat(8191),
    incarnation: oid,
    stageId: exact,
    baseRowId: exact,
    rowCount: oid,
    attnums: fc.array(fc.integer({ min: -32768, max: 32767 }), { maxLength: 9 }),
  }),
  fc.record({
    kind: fc.constant('commit' as const),
    timestamp: exact as fc.Arbitrary<Timestamp>,
    decision: fc.option(
      fc.record({
        transactionId: id,
        participants: fc.array(fc.string({ maxLength: 6 }), { maxLength: 3 }),
        preparedAt: exact as fc.Arbitrary<Timestamp>,
      }),
      { nil: undefined },
    ),
    stageIds: fc.array(exact, { maxLength: 4 }),
    writes,
    ddl: fc.option(fc.uint8Array({ maxLength: 20 }), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant('abort' as const), stageId: exact }),
  fc.record({
    kind: fc.constant('prepare' as const),
    transactionId: id,
    preparedAt: exact as fc.Arbitrary<Timestamp>,
    stageIds: fc.array(exact, { maxLength: 4 }),
    writes,
    absentKeys: fc.array(fc.record(keyFields), { maxLength: 3 }),
    references: fc.array(fc.record({ ...keyFields, rowId: exact }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('finish' as const),
    transactionId: id,
    committedAt: fc.option(exact as fc.Arbitrary<Timestamp>, { nil: undefined }),
  }),
)

test('what is encoded is decoded, at any offset', () => {
  fc.assert(
    fc.property(record, fc.nat(9), (given, offset) => {
      const encoded = encodeLogRecord(given)
      const moved = new Uint8Array(encoded.length + offset)
      moved.set(encoded, offset)
      expect(decodeLogRecord(moved.subarray(offset))).toEqual(given)
    }),
  )
})

test('bytes that are cut short or garbled give XX001 or another record, nothing else', () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.nat(255), fc.boolean(), (given, place, value, cut) => {
      const encoded = encodeLogRecord(given)
      const at = place % encoded.length
      if (!cut) encoded[at] = value
      try {
        decodeLogRecord(cut ? encoded.subarray(0, at) : encoded)
        if (cut) expect.unreachable()
      } catch (error) {
        if (!(error instanceof DatabaseError)) throw error
        expect(error.sqlState).toBe('XX001')
      }
    }),
  )
})
