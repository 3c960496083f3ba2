import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { writeCopyData, writeCopyDone } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { FrontendDecoder } from '#net/pgwire/frame.js'
import * as encode from '#net/pgwire/frontend-encode.js'
import type { FrontendMessage } from '#net/pgwire/message.js'

function encoded(write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter(16)
  write(writer)
  return Buffer.from(writer.view())
}

/** Decodes in pieces; each piece is a copy, as the decoder may move bytes in it. */
function decode(pieces: readonly Buffer[], phase: 'startup' | 'session'): FrontendMessage[] {
  const decoder = new FrontendDecoder()
  const messages: FrontendMessage[] = []
  if (phase === 'session') {
    decoder.push(
      encoded((writer) => encode.writeStartup(writer, {})),
      [],
    )
    decoder.beginSession()
  }
  for (const piece of pieces) decoder.push(Buffer.from(piece), messages)
  return messages
}

/** Joins neighbouring CopyData, whose boundaries mean nothing, and makes bytes comparable. */
function normalized(messages: readonly FrontendMessage[]): unknown[] {
  const result: unknown[] = []
  let copied: Buffer | undefined
  const finishCopy = () => {
    if (copied !== undefined && copied.length > 0) result.push(['copyData', copied.toString('hex')])
    copied = undefined
  }
  for (const message of messages) {
    if (message.kind === 'copyData') {
      copied = Buffer.concat([copied ?? Buffer.alloc(0), message.data])
      continue
    }
    finishCopy()
    result.push(
      JSON.parse(
        JSON.stringify(message, (_, value: unknown) => (value instanceof Map ? [...value] : value)),
      ),
    )
  }
  finishCopy()
  return result
}

const name = fc.string({ maxLength: 40, unit: 'grapheme' }).map((text) => text.replaceAll('\0', ''))
const bytes = fc.uint8Array({ maxLength: 60 })
const format = fc.constantFrom(0, 1)
const target = fc.constantFrom('statement' as const, 'portal' as const)
type Write = (writer: ByteWriter) => void

const anyMessage: fc.Arbitrary<Write> = fc.oneof(
  name.map(
    (sql): Write =>
      (writer) =>
        encode.writeQuery(writer, sql),
  ),
  fc.tuple(name, name, fc.array(fc.nat(0xffff_ffff), { maxLength: 4 })).map(
    ([statement, sql, types]): Write =>
      (writer) =>
        encode.writeParse(writer, statement, sql, types),
  ),
  fc
    .record({
      portal: name,
      statement: name,
      parameterFormats: fc.array(format, { maxLength: 1 }),
      parameters: fc.array(fc.option(bytes), { maxLength: 4 }),
      resultFormats: fc.array(format, { maxLength: 3 }),
    })
    .map(
      (bind): Write =>
        (writer) =>
          encode.writeBind(writer, bind),
    ),
  fc.tuple(target, name).map(
    ([kind, of]): Write =>
      (writer) =>
        encode.writeDescribe(writer, kind, of),
  ),
  fc.tuple(target, name).map(
    ([kind, of]): Write =>
      (writer) =>
        encode.writeClose(writer, kind, of),
  ),
  fc.tuple(name, fc.integer()).map(
    ([portal, count]): Write =>
      (writer) =>
        encode.writeExecute(writer, portal, count),
  ),
  fc.constantFrom<Write>(encode.writeSync, encode.writeFlush, encode.writeTerminate, writeCopyDone),
  bytes.map(
    (data): Write =>
      (writer) =>
        writeCopyData(writer, data),
  ),
  bytes.map(
    (data): Write =>
      (writer) =>
        writeCopyData(writer, data),
  ),
  fc.uint8Array({ minLength: 4090, maxLength: 4110 }).map(
    (data): Write =>
      (writer) =>
        writeCopyData(writer, data),
  ),
  name.map(
    (reason): Write =>
      (writer) =>
        encode.writeCopyFail(writer, reason),
  ),
  bytes.map(
    (payload): Write =>
      (writer) =>
        encode.writeMessage(writer, 0x70, payload),
  ),
)

test('messages come out the same, wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(anyMessage, { minLength: 1, maxLength: 12 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
      (writes, cuts) => {
        const stream = encoded((writer) => {
          for (const write of writes) write(writer)
        })
        const whole = normalized(decode([stream], 'session'))
        const one = writes.map((write) => encoded(write))
        expect(normalized(decode(one, 'session'))).toEqual(whole)
        const offsets = [0, ...cuts.map((cut) => Math.floor(cut * stream.length)), stream.length]
        offsets.sort((left, right) => left - right)
        const pieces = offsets.slice(1).map((end, index) => stream.subarray(offsets[index], end))
        expect(normalized(decode(pieces, 'session'))).toEqual(whole)
      },
    ),
    { numRuns: 400 },
  )
})

test('every cut in two and every single byte, over one message of each kind', () => {
  const writes: Write[] = [
    (writer) => encode.writeQuery(writer, 'select é'),
    (writer) => encode.writeParse(writer, 's', 'select $1', [23, 4_000_000_000]),
    (writer) =>
      encode.writeBind(writer, {
        portal: 'p',
        statement: 's',
        parameterFormats: [1],
        parameters: [Buffer.from([1, 2]), null, ''],
        resultFormats: [0, 1],
      }),
    (writer) => encode.writeDescribe(writer, 'portal', 'p'),
    (writer) => encode.writeExecute(writer, 'p', -1),
    (writer) => writeCopyData(writer, Buffer.from('abc')),
    (writer) => writeCopyData(writer, Buffer.alloc(0)),
    (writer) => writeCopyData(writer, Buffer.alloc(60, 0x64)),
    writeCopyDone,
    (writer) => encode.writeCopyFail(writer, 'why'),
    (writer) =>
      encode.writeMessage(writer, 0x46, Buffer.from('0000000100000001ffffffff0000', 'hex')),
    (writer) => encode.writeClose(writer, 'statement', 's'),
    encode.writeFlush,
    encode.writeSync,
    encode.writeTerminate,
  ]
  const stream = encoded((writer) => {
    for (const write of writes) write(writer)
  })
  const whole = normalized(decode([stream], 'session'))
  expect(whole).toHaveLength(13)
  expect(whole[1]).toEqual({
    kind: 'parse',
    name: 's',
    sql: 'select $1',
    parameterTypes: [23, 4_000_000_000],
  })
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const pieces = [stream.subarray(0, cut), stream.subarray(cut)]
    expect(normalized(decode(pieces, 'session'))).toEqual(whole)
  }
  const single = Array.from(stream, (byte) => Buffer.from([byte]))
  expect(normalized(decode(single, 'session'))).toEqual(whole)
})

test('the startup phase, cut at every byte', () => {
  const key = Buffer.alloc(32, 9)
  const stream = encoded((writer) => {
    encode.writeEncryptionRequest(writer, 'ssl')
    encode.writeEncryptionRequest(writer, 'gssenc')
    encode.writeCancelRequest(writer, 77, key)
    encode.writeStartup(writer, { user: 'é', database: 'd', options: '-c a=b' }, 2)
    encode.writeMessage(writer, 0x70, Buffer.from('secret\0'))
    encode.writeQuery(writer, 'select 1')
  })
  const whole = normalized(decode([stream], 'startup'))
  expect(whole).toMatchObject([
    { kind: 'sslRequest' },
    { kind: 'gssencRequest' },
    { kind: 'cancelRequest', processId: 77 },
    {
      kind: 'startup',
      minor: 2,
      parameters: [
        ['user', 'é'],
        ['database', 'd'],
        ['options', '-c a=b'],
      ],
    },
    { kind: 'password' },
    { kind: 'query', sql: 'select 1' },
  ])
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const pieces = [stream.subarray(0, cut), stream.subarray(cut)]
    expect(normalized(decode(pieces, 'startup'))).toEqual(whole)
  }
})

function failure(stream: Buffer, phase: 'startup' | 'session'): string {
  try {
    decode([stream], phase)
  } catch (error) {
    if (error instanceof DatabaseError) return `${error.sqlState} ${error.message}`
    throw error
  }
  return 'none'
}

const message = (type: string, body: string) =>
  encoded((writer) => encode.writeMessage(writer, type.charCodeAt(0), Buffer.from(body, 'latin1')))
const header = (type: string, length: number) => {
  const bytesOf = Buffer.alloc(5)
  bytesOf.write(type, 'latin1')
  bytesOf.writeInt32BE(length, 1)
  return bytesOf
}

test.each([
  ['unknown type', header('!', 4), '08P01 invalid frontend message type 33'],
  ['only its type byte', Buffer.from('!'), '08P01 invalid frontend message type 33'],
  ['length below 4', header('Q', 3), '08P01 invalid message length'],
  ['negative length', header('Q', -1), '08P01 invalid message length'],
  ['over 1 GiB', header('B', 0x3fff_ffff), '08P01 invalid message length'],
  ['CopyData over 1 GiB', header('d', 0x7fff_ffff), '08P01 invalid message length'],
  ['long Sync', header('S', 10_001), '08P01 invalid message length'],
  ['Sync with a body', message('S', 'x'), '08P01 invalid message format'],
  ['Query without terminator', message('Q', 'select 1'), '08P01 invalid string in message'],
  ['empty Query body', message('Q', ''), '08P01 invalid string in message'],
  ['Query with something behind', message('Q', 'a\0b'), '08P01 invalid message format'],
  ['Parse without count', message('P', '\0a\0'), '08P01 insufficient data left in message'],
  [
    'Parse with too few types',
    message('P', '\0a\0\0\x02\0\0\0\x01'),
    '08P01 insufficient data left in message',
  ],
  [
    'Bind with negative length',
    message('B', '\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0'),
    '08P01 insufficient data left in message',
  ],
  [
    'Bind with too long a value',
    message('B', '\0\0\0\0\0\x01\0\0\xff\xff\0\0'),
    '08P01 insufficient data left in message',
  ],
  [
    'Bind with formats that do not fit',
    message('B', '\0\0\0\x02\0\0\0\0\0\0'),
    '08P01 bind message has 2 parameter formats but 0 parameters',
  ],
  [
    'Bind with 65535 parameters',
    message('B', '\0\0\0\0\xff\xff'),
    '08P01 insufficient data left in message',
  ],
  ['Describe of something else', message('D', 'Xa\0'), '08P01 invalid DESCRIBE message subtype 88'],
  ['Describe of nothing', message('D', ''), '08P01 no data left in message'],
  ['Close of something else', message('C', 'Xa\0'), '08P01 invalid CLOSE message subtype 88'],
])('%s', (_, stream, expected) => {
  expect(failure(stream, 'session')).toBe(expected)
})

test.each([
  ['negative length', Buffer.from('ffffffff', 'hex'), '08P01 invalid length of startup packet'],
  ['10001 bytes', Buffer.from('00002711', 'hex'), '08P01 invalid length of startup packet'],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n'), '08P01 invalid length of startup packet'],
  ['TLS', Buffer.from('16030100a5', 'hex'), '08P01 invalid length of startup packet'],
  [
    'protocol 2',
    Buffer.from('0000000800020000', 'hex'),
    '0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2',
  ],
  [
    'no terminator',
    Buffer.from('000000090003000061', 'hex'),
    '08P01 invalid startup packet layout: expected terminator as last byte',
  ],
  [
    'cancel without key',
    Buffer.from('0000000c04d2162e00000001', 'hex'),
    '08P01 invalid length of cancel key in cancel request packet',
  ],
])('startup: %s', (_, stream, expected) => {
  expect(failure(stream, 'startup')).toBe(expected)
})

test('before authentication is over no message is longer than 10,000 bytes', () => {
  const decoder = new FrontendDecoder()
  decoder.push(
    encoded((writer) => encode.writeStartup(writer, { user: 'u' })),
    [],
  )
  expect(() => decoder.push(header('Q', 10_001), [])).toThrow('invalid message length')
})

test('a length that is only announced takes no memory', () => {
  const decoder = new FrontendDecoder()
  decoder.push(
    encoded((writer) => encode.writeStartup(writer, {})),
    [],
  )
  decoder.beginSession()
  decoder.push(Buffer.concat([header('Q', 0x3fff_fffe), Buffer.alloc(100)]), [])
  expect(decoder.heldBytes).toBe(105)
})

test('what was handed out stays as it is when more arrives', () => {
  const decoder = new FrontendDecoder()
  decoder.push(
    encoded((writer) => encode.writeStartup(writer, {})),
    [],
  )
  decoder.beginSession()
  const messages: FrontendMessage[] = []
  const bind = (value: string) =>
    encoded((writer) => encode.writeBind(writer, { parameters: [value] }))
  for (const value of ['first', 'other', 'third']) {
    const stream = bind(value)
    decoder.push(stream.subarray(0, 9), messages)
    decoder.push(stream.subarray(9), messages)
  }
  const values = messages.map((found) =>
    found.kind === 'bind' ? Buffer.from(found.parameters[0] ?? []).toString() : found.kind,
  )
  expect(values).toEqual(['first', 'other', 'third'])
})

test('COPY costs little: 64 MB of 100-byte messages in chunks of 64 KiB', () => {
  const row = encoded((writer) => writeCopyData(writer, Buffer.alloc(95, 0x61)))
  const stream = Buffer.alloc(64e6, row)
  const decoder = new FrontendDecoder()
  decoder.push(
    encoded((writer) => encode.writeStartup(writer, {})),
    [],
  )
  decoder.beginSession()
  const before = process.cpuUsage()
  let bytesOut = 0
  for (let offset = 0; offset < stream.length; offset += 65_536) {
    const messages: FrontendMessage[] = []
    decoder.push(stream.subarray(offset, offset + 65_536), messages)
    expect(messages.length).toBeLessThan(5)
    for (const found of messages) if (found.kind === 'copyData') bytesOut += found.data.length
  }
  const { user, system } = process.cpuUsage(before)
  expect(bytesOut).toBe((64e6 / 100) * 95)
  expect((user + system) / 1e6).toBeLessThan(1) // 0.03 s on an idle machine
})
