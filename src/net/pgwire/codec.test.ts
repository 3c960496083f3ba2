import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { parse } from 'pg-protocol'
import { expect, test } from 'vitest'
import { DatabaseError, StoreError, UnreachableError } from '#base/errors.js'
import * as backend from '#net/pgwire/backend.js'
import {
  BackendMessages,
  collectAnswer,
  parseCommandComplete,
  parseDataRow,
  parseParameterDescription,
  parseParameterStatus,
  parseRowDescription,
} from '#net/pgwire/backend-parse.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import {
  errorForClient,
  parseErrorResponse,
  parseNoticeResponse,
  writeErrorResponse,
  writeNoticeResponse,
} from '#net/pgwire/error-response.js'

const int16 = fc.integer({ min: -0x8000, max: 0x7fff })
const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff })
const oid = fc.nat(0xffff_ffff)
const text = fc
  .string({ maxLength: 60, unit: 'grapheme' })
  .map((value) => value.replaceAll('\0', ''))

function only(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(8)
  write(writer)
  const messages = new BackendMessages(writer.view())
  expect(messages.next()).toBe(true)
  const payload = messages.payload()
  expect(messages.next()).toBe(false)
  return payload
}

test('what is written is read: rows, descriptions, tags, parameters', () => {
  const field = fc.record({
    name: text,
    tableOid: oid,
    attnum: int16,
    typeOid: oid,
    typeSize: int16,
    typmod: int32,
    format: fc.constantFrom(0, 1),
  })
  const value = fc.option(fc.oneof(text, fc.uint8Array({ maxLength: 300 })))
  fc.assert(
    fc.property(
      fc.array(field),
      fc.array(value),
      fc.array(oid),
      text,
      (fields, values, oids, tag) => {
        expect(parseRowDescription(only((to) => backend.writeRowDescription(to, fields)))).toEqual(
          fields,
        )
        const row = parseDataRow(only((to) => backend.writeDataRow(to, values)))
        expect(row.map((found) => found && Buffer.from(found).toString('hex'))).toEqual(
          values.map((sent) => (sent === null ? null : Buffer.from(sent).toString('hex'))),
        )
        expect(
          parseParameterDescription(only((to) => backend.writeParameterDescription(to, oids))),
        ).toEqual(oids)
        expect(parseCommandComplete(only((to) => backend.writeCommandComplete(to, tag)))).toBe(tag)
        expect(
          parseParameterStatus(only((to) => backend.writeParameterStatus(to, tag, 'v'))),
        ).toEqual({ name: tag, value: 'v' })
      },
    ),
  )
})

test('errors and notices keep every field', () => {
  const fields = {
    detail: 'd',
    hint: 'h',
    position: 7,
    internalPosition: 8,
    internalQuery: 'q',
    where: 'w',
    schema: 's',
    table: 't',
    column: 'c',
    dataType: 'dt',
    constraint: 'n',
    file: 'f',
    line: 9,
    routine: 'r',
  }
  const error = new DatabaseError('23505', 'dup ä', fields)
  const parsed = parseErrorResponse(only((to) => writeErrorResponse(to, error)))
  expect(parsed).toMatchObject({ sqlState: '23505', message: 'dup ä', fields })
  expect(parsed.fields.severity).toBeUndefined()
  const fatal = new DatabaseError('57P01', 'bye', { severity: 'FATAL' })
  expect(parseErrorResponse(only((to) => writeErrorResponse(to, fatal))).fields).toEqual({
    severity: 'FATAL',
  })
  const notice = { severity: 'WARNING', sqlState: '01000', message: 'm', ...fields } as const
  expect(parseNoticeResponse(only((to) => writeNoticeResponse(to, notice)))).toEqual(notice)
})

test('an error of ours shows an id and nothing else', () => {
  const logged: unknown[] = []
  const cause = new Error('password is 1234')
  const shown = errorForClient(
    cause,
    () => 'abc',
    (id, error) => logged.push([id, error]),
  )
  expect(shown).toMatchObject({ sqlState: 'XX000', message: 'internal error (abc)', cause })
  expect(logged).toEqual([['abc', cause]])
  const bytes = Buffer.from(only((to) => writeErrorResponse(to, shown))).toString()
  expect(bytes).not.toContain('1234')
})

test('a store that is full, one that fails and a node that does not answer are named', () => {
  const shown = (error: unknown) =>
    errorForClient(
      error,
      () => 'abc',
      () => {
        throw new Error('not a defect')
      },
    )
  const full = new StoreError('determinate', 'could not write: full', undefined, 'full')
  expect(shown(full)).toMatchObject({ sqlState: '53100', message: 'could not write: full' })
  expect(shown(full).fields.hint).toMatch(/space/)
  expect(shown(new StoreError('indeterminate', 'gone')).sqlState).toBe('58030')
  const nobody = new StoreError('indeterminate', 'no coordinator', undefined, 'unreachable')
  expect(shown(nobody)).toMatchObject({ sqlState: '08006', message: 'no coordinator' })
  expect(shown(nobody).fields.hint).toMatch(/look before/)
  const away = shown(new UnreachableError('determinate', 'no answer'))
  expect([away.sqlState, away.fields.hint]).toEqual(['08006', expect.stringMatching(/try again/)])
})

test('a message begun and not ended is dropped by abandon', () => {
  const writer = new ByteWriter(8)
  backend.writeNoData(writer)
  writer.begin(backend.BackendType.dataRow)
  writer.text('half')
  writer.abandon()
  backend.writeCopyDone(writer)
  expect(Buffer.from(writer.view()).toString('latin1')).toBe('n\0\0\0\x04c\0\0\0\x04')
})

test('node-postgres reads what we write', async () => {
  const writer = new ByteWriter(8)
  backend.writeAuthenticationOk(writer)
  backend.writeAuthenticationCleartextPassword(writer)
  backend.writeAuthenticationSasl(writer, ['SCRAM-SHA-256'])
  backend.writeAuthenticationSaslContinue(writer, 'r=1')
  backend.writeAuthenticationSaslFinal(writer, 'v=1')
  backend.writeParameterStatus(writer, 'a', 'b')
  backend.writeBackendKeyData(writer, 5, Buffer.from([0, 0, 0, 6]))
  backend.writeReadyForQuery(writer, 'T')
  backend.writeRowDescription(writer, [
    { name: 'x', tableOid: 1, attnum: 2, typeOid: 23, typeSize: 4, typmod: -1, format: 1 },
  ])
  backend.writeDataRow(writer, [null, 'é', Buffer.from('b')])
  backend.writeCommandComplete(writer, 'SELECT 1')
  backend.writeEmptyQueryResponse(writer)
  backend.writeParseComplete(writer)
  backend.writeBindComplete(writer)
  backend.writeCloseComplete(writer)
  backend.writeNoData(writer)
  backend.writePortalSuspended(writer)
  backend.writeParameterDescription(writer, [25, 3_000_000_000])
  backend.writeCopyInResponse(writer, 'binary', 3)
  backend.writeCopyOutResponse(writer, 'text', 1)
  backend.writeCopyData(writer, Buffer.from('z'))
  backend.writeCopyDone(writer)
  backend.writeNotification(writer, 9, 'channel', 'payload')
  writeNoticeResponse(writer, { severity: 'NOTICE', sqlState: '00000', message: 'hello' })
  writeErrorResponse(writer, new DatabaseError('42601', 'oops', { position: 3 }))
  const stream = new PassThrough()
  const messages: unknown[] = []
  const parsing = parse(stream, (message) => messages.push(message))
  stream.end(writer.view())
  await parsing
  expect(messages).toMatchObject([
    { name: 'authenticationOk' },
    { name: 'authenticationCleartextPassword' },
    { name: 'authenticationSASL', mechanisms: ['SCRAM-SHA-256'] },
    { name: 'authenticationSASLContinue', data: 'r=1' },
    { name: 'authenticationSASLFinal', data: 'v=1' },
    { name: 'parameterStatus', parameterName: 'a', parameterValue: 'b' },
    { name: 'backendKeyData', processID: 5, secretKey: 6 },
    { name: 'readyForQuery', status: 'T' },
    {
      name: 'rowDescription',
      fields: [
        {
          name: 'x',
          tableID: 1,
          columnID: 2,
          dataTypeID: 23,
          dataTypeSize: 4,
          dataTypeModifier: -1,
          format: 'binary',
        },
      ],
    },
    { name: 'dataRow', fields: [null, 'é', 'b'] },
    { name: 'commandComplete', text: 'SELECT 1' },
    { name: 'emptyQuery' },
    { name: 'parseComplete' },
    { name: 'bindComplete' },
    { name: 'closeComplete' },
    { name: 'noData' },
    { name: 'portalSuspended' },
    { name: 'parameterDescription', parameterCount: 2 },
    { name: 'copyInResponse', binary: true, columnTypes: [1, 1, 1] },
    { name: 'copyOutResponse', binary: false, columnTypes: [0] },
    { name: 'copyData' },
    { name: 'copyDone' },
    { name: 'notification', processId: 9, channel: 'channel', payload: 'payload' },
    { name: 'notice', message: 'hello' },
    { name: 'error', message: 'oops', position: '3' },
  ])
})

test('an answer is taken apart; one without ReadyForQuery has no status', () => {
  const writer = new ByteWriter()
  const field = {
    name: 'x',
    tableOid: 0,
    attnum: 0,
    typeOid: 25,
    typeSize: -1,
    typmod: -1,
    format: 0,
  }
  backend.writeRowDescription(writer, [field])
  backend.writeDataRow(writer, ['1'])
  backend.writeDataRow(writer, [null])
  backend.writeCommandComplete(writer, 'SELECT 2')
  backend.writeCommandComplete(writer, 'BEGIN')
  const dead = collectAnswer(Buffer.from(writer.view()))
  expect(dead.status).toBeUndefined()
  writeErrorResponse(writer, new DatabaseError('42601', 'oops'))
  backend.writeReadyForQuery(writer, 'E')
  const answer = collectAnswer(writer.view())
  expect(answer.results.map(({ tag, rows }) => [tag, rows.length])).toEqual([
    ['SELECT 2', 2],
    ['BEGIN', 0],
  ])
  expect(answer.results[0]?.fields).toEqual([field])
  expect(answer.error && parseErrorResponse(answer.error).message).toBe('oops')
  expect(answer.status).toBe('E')
  expect(() => collectAnswer(writer.view().subarray(0, -1))).toThrow('truncated message')
})
