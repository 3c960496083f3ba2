import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { writeCopyData, writeCopyDone } from '#net/pgwire/backend.js'
import { parseErrorResponse } from '#net/pgwire/error-response.js'
import {
  writeBind,
  writeCancelRequest,
  writeClose,
  writeCopyFail,
  writeDescribe,
  writeEncryptionRequest,
  writeExecute,
  writeFlush,
  writeMessage,
  writeParse,
  writeQuery,
  writeStartup,
  writeSync,
  writeTerminate,
} from '#net/pgwire/frontend-encode.js'
import { formatVerifier, makeVerifier } from '#net/pgwire/scram.js'
import { kinds, RawClient, type Received } from './raw-client.js'
import { openToy, type Toy } from './toy-session.js'

async function connected(toy: Toy, options: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: toy.port,
    user: 'toy',
    database: 'db',
    ...options,
  })
  client.on('error', () => {})
  await client.connect()
  return client
}

function errorIn(messages: readonly Received[]): DatabaseError {
  const found = messages.find(({ type }) => type === 'E')
  if (found === undefined) throw new Error(`no error in ${kinds(messages)}`)
  return parseErrorResponse(found.body)
}

/** Waits until something holds. */
async function eventually(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !holds(); tries += 1) await sleep(5)
  expect(holds()).toBe(true)
}

test('node-postgres: simple, extended, named, cursor, errors, transactions', async () => {
  await using toy = await openToy()
  const client = await connected(toy)
  expect((await client.query('select hello')).rows).toEqual([{ answer: 'hello' }])
  expect((await client.query('later on')).rows).toEqual([{ answer: 'on' }])
  expect((await client.query('')).rows).toEqual([])
  expect((await client.query('select $1', ['ä€😀'])).rows).toEqual([{ answer: 'ä€😀' }])
  expect((await client.query('select $1', [null])).rows).toEqual([{ answer: null }])
  const named = { name: 'one', text: 'select $1', values: ['x'] }
  await client.query(named)
  expect((await client.query(named)).rows).toEqual([{ answer: 'x' }])
  const several = await client.query('select a; rows 2; begin')
  expect(Array.isArray(several) && several.map(({ command }) => command)).toEqual([
    'SELECT',
    'SELECT',
    'BEGIN',
  ])
  await expect(client.query('error')).rejects.toMatchObject({ code: '42601', hint: 'do not ask' })
  await expect(client.query({ text: 'error', values: ['1'] })).rejects.toMatchObject({
    code: '42601',
    position: '1',
  })
  await client.query('commit')
  const cursor = client.query(new Cursor('rows 5'))
  expect(await cursor.read(2)).toEqual([{ answer: 'row 0' }, { answer: 'row 1' }])
  expect(await cursor.read(9)).toHaveLength(3)
  await cursor.close()
  const crash = await client.query('crash').catch((error: pg.DatabaseError) => error)
  expect(crash).toMatchObject({ code: 'XX000' })
  expect(String(crash)).toMatch(/internal error \([0-9a-f]{12}\)/)
  expect(String(crash)).not.toContain('secret')
  expect(toy.log.internalErrors).toMatchObject([{ message: 'a secret of ours' }])
  await client.end()
  await eventually(() => toy.log.open === 0)
})

test('SCRAM: node-postgres with right, wrong and no password, for known and unknown users', async () => {
  const verifier = formatVerifier(await makeVerifier('geheim', Buffer.alloc(16, 7)))
  for (const method of ['scram', 'password'] as const) {
    await using toy = await openToy({
      authenticate: async (user) => ({ method, verifier: user === 'toy' ? verifier : undefined }),
    })
    const client = await connected(toy, { password: 'geheim' })
    expect((await client.query('select in')).rows).toEqual([{ answer: 'in' }])
    await client.end()
    const wrong = { code: '28P01', message: 'password authentication failed for user "toy"' }
    await expect(connected(toy, { password: 'falsch' })).rejects.toMatchObject(wrong)
    await expect(connected(toy, { user: 'nobody', password: 'geheim' })).rejects.toMatchObject({
      code: '28P01',
      message: 'password authentication failed for user "nobody"',
    })
    expect(toy.log.requests).toHaveLength(1)
  }
})

test('a pipelined batch is answered in one piece, and an error skips to Sync', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.pieces = 0
  client.send((writer) => {
    writeParse(writer, '', 'select $1')
    writeBind(writer, { parameters: ['7'] })
    writeDescribe(writer, 'portal', '')
    writeExecute(writer, '', 0)
    writeSync(writer)
  })
  expect(kinds(await client.until('Z'))).toBe('1 2 T D C Z')
  expect(client.pieces).toBe(1)
  client.send((writer) => {
    writeParse(writer, '', 'later 1')
    writeBind(writer, {})
    writeExecute(writer, '', 0)
    writeBind(writer, { statement: 'missing' })
    writeExecute(writer, '', 0)
    writeQuery(writer, 'select skipped')
    writeSync(writer)
    writeClose(writer, 'statement', 'missing')
    writeDescribe(writer, 'statement', '')
    writeFlush(writer)
  })
  const failed = await client.until('Z')
  expect(kinds(failed)).toBe('1 2 D C E Z')
  expect(errorIn(failed).sqlState).toBe('26000')
  expect(toy.log.failures).toHaveLength(1)
  expect(kinds(await client.until('T'))).toBe('3 t T')
  client.destroy()
})

test('an answer does not wait for a slow successor', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.send((writer) => {
    writeQuery(writer, 'select quick')
    writeQuery(writer, 'wait')
  })
  expect(kinds(await client.until('Z'))).toBe('T D C Z')
  client.destroy()
  await eventually(() => toy.log.open === 0)
})

test('encryption is refused, protocol versions and options are negotiated', async () => {
  await using toy = await openToy()
  const client = await RawClient.connect(toy.port)
  client.send((writer) => writeEncryptionRequest(writer, 'ssl'))
  expect((await client.bytes(1)).toString()).toBe('N')
  client.send((writer) => writeEncryptionRequest(writer, 'gssenc'))
  expect((await client.bytes(1)).toString()).toBe('N')
  client.send((writer) => writeStartup(writer, { user: 'u', '_pq_.grease': '1' }, 9999))
  const [negotiate, ...rest] = await client.until('Z')
  expect(negotiate?.type).toBe('v')
  expect(negotiate?.body.readInt32BE(0)).toBe(0x0003_0002)
  expect(negotiate?.body.subarray(8).toString()).toBe('_pq_.grease\0')
  expect(kinds(rest)).toBe('R S S K Z')
  expect(rest[3]?.body.length).toBe(4 + 32)
  expect(toy.log.requests[0]?.database).toBe('u')
  expect([...(toy.log.requests[0]?.parameters.keys() ?? [])]).toEqual(['user'])
  client.destroy()
  const old = await RawClient.connect(toy.port)
  old.socket.write(Buffer.from([0, 0, 0, 8, 0, 2, 0, 0]))
  expect(errorIn(await old.untilEnd())).toMatchObject({
    sqlState: '0A000',
    message: 'unsupported frontend protocol 2.0: server supports 3.0 to 3.2',
  })
})

test('a cancel request with the right key aborts the statement, with a wrong key nothing', async () => {
  await using toy = await openToy()
  for (const minor of [0, 2]) {
    const client = await RawClient.connect(toy.port)
    client.send((writer) => writeStartup(writer, { user: 'u' }, minor))
    const key = (await client.until('Z')).find(({ type }) => type === 'K')?.body ?? Buffer.alloc(0)
    client.send((writer) => writeQuery(writer, 'wait'))
    await eventually(() => toy.log.statements.at(-1) === 'wait')
    const cancel = async (secretKey: Buffer) => {
      const canceller = await RawClient.connect(toy.port)
      canceller.send((writer) => writeCancelRequest(writer, key.readInt32BE(0), secretKey))
      expect(await canceller.untilEnd()).toEqual([])
    }
    await cancel(Buffer.alloc(key.length - 4))
    await sleep(20)
    expect(toy.log.statements.at(-1)).toBe('wait')
    await cancel(key.subarray(4))
    expect(errorIn(await client.until('Z'))).toMatchObject({
      sqlState: '57014',
      message: 'canceling statement due to user request',
    })
    client.send((writer) => writeQuery(writer, 'select alive'))
    expect(kinds(await client.until('Z'))).toBe('T D C Z')
    await cancel(key.subarray(4)) // idle: ignored
    client.send((writer) => writeQuery(writer, 'select alive'))
    expect(kinds(await client.until('Z'))).toBe('T D C Z')
    client.destroy()
  }
})

test('a session aborts its own statement, and the first reason counts', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.send((writer) => writeQuery(writer, 'timeout'))
  expect(errorIn(await client.until('Z')).message).toBe(
    'canceling statement due to statement timeout',
  )
  client.send((writer) => writeQuery(writer, 'later alive'))
  expect(kinds(await client.until('Z'))).toBe('T D C Z')
  client.destroy()
})

test('a client that vanishes aborts its statement; one that said Terminate does not', async () => {
  await using toy = await openToy()
  for (const leave of ['destroy', 'end'] as const) {
    const client = await RawClient.started(toy.port)
    client.send((writer) => writeQuery(writer, 'wait'))
    await eventually(() => toy.log.statements.at(-1) === 'wait')
    client.socket[leave]()
    await eventually(() => toy.log.open === 0)
    toy.log.statements.length = 0
  }
  const polite = await RawClient.started(toy.port)
  polite.send((writer) => {
    writeQuery(writer, 'later 1')
    writeQuery(writer, 'later 2')
    writeTerminate(writer)
  })
  polite.socket.end()
  await eventually(() => toy.log.open === 0)
  expect(toy.log.statements).toEqual(['later 1', 'later 2'])
})

test('COPY both ways with pg-copy-streams', async () => {
  await using toy = await openToy()
  const client = await connected(toy)
  const input = client.query(copyFrom('copy in'))
  const sent: Buffer[] = []
  for (let row = 0; row < 5000; row += 1) {
    const line = Buffer.from(`${row}\tvalue of ${row}\n`)
    sent.push(line)
    if (!input.write(line)) await once(input, 'drain')
  }
  input.end()
  await once(input, 'finish')
  expect(Buffer.concat(toy.log.copied).equals(Buffer.concat(sent))).toBe(true)
  const output = client.query(copyTo('copy out 20000'))
  const received: Buffer[] = []
  for await (const chunk of output) received.push(chunk)
  expect(Buffer.concat(received).toString().split('\n')).toHaveLength(20_001)
  expect((await client.query('select after')).rows).toEqual([{ answer: 'after' }])
  await client.end()
})

test('COPY that fails: by the client, by the session, by a foreign message, by cancel', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.send((writer) => {
    writeQuery(writer, 'copy in')
    writeCopyData(writer, Buffer.from('a'))
    writeFlush(writer)
    writeSync(writer)
    writeCopyFail(writer, 'no more')
  })
  expect(errorIn(await client.until('Z'))).toMatchObject({
    sqlState: '57014',
    message: 'COPY from stdin failed: no more',
  })
  client.send((writer) => {
    writeQuery(writer, 'copy in 1')
    writeCopyData(writer, Buffer.from('a'))
  })
  expect(errorIn(await client.until('Z')).sqlState).toBe('22P04')
  client.send((writer) => {
    for (let row = 0; row < 10; row += 1) writeCopyData(writer, Buffer.from('late'))
    writeCopyDone(writer)
    writeQuery(writer, 'select alive')
  })
  expect(kinds(await client.until('Z'))).toBe('T D C Z')
  // in the extended protocol: the Sync that came with Execute is ignored, the one after CopyDone counts
  client.send((writer) => {
    writeParse(writer, '', 'copy in')
    writeBind(writer, {})
    writeExecute(writer, '', 0)
    writeSync(writer)
  })
  await client.until('G')
  client.send((writer) => {
    writeCopyData(writer, Buffer.from('abc'))
    writeCopyDone(writer)
    writeSync(writer)
  })
  expect(kinds(await client.until('Z'))).toBe('C Z')
  client.send((writer) => writeQuery(writer, 'copy in'))
  await client.until('G')
  toy.server.cancel(toy.log.requests[0]?.processId ?? 0)
  expect(errorIn(await client.until('Z')).sqlState).toBe('57014')
  client.send((writer) => writeQuery(writer, 'copy in'))
  await client.until('G')
  client.send((writer) => writeQuery(writer, 'select 1'))
  expect(errorIn(await client.untilEnd())).toMatchObject({
    sqlState: '08P01',
    message: 'unexpected message type 0x51 during COPY from stdin',
  })
})

test('text that is not UTF-8 is an error of the statement only', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  const bad = Buffer.concat([Buffer.from('select \xe9t\xe9 ', 'latin1'), Buffer.from([0])])
  client.send((writer) => writeMessage(writer, 0x51, bad))
  const failed = await client.until('Z')
  expect(kinds(failed)).toBe('E Z')
  expect(errorIn(failed)).toMatchObject({
    sqlState: '22021',
    message: 'invalid byte sequence for encoding "UTF8": 0xe9 0x74 0xe9',
  })
  client.send((writer) => {
    writeMessage(writer, 0x50, Buffer.concat([Buffer.from([0]), bad, Buffer.from([0, 0])]))
    writeSync(writer)
  })
  expect(kinds(await client.until('Z'))).toBe('E Z')
  client.destroy()
})

test('what was good before a malformed message is answered, then 08P01 ends the connection', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.send((writer) => {
    writeQuery(writer, 'later 1')
    writeMessage(writer, 0x21, Buffer.alloc(3))
    writeQuery(writer, 'select never')
  })
  const messages = await client.untilEnd()
  expect(kinds(messages)).toBe('T D C Z E')
  expect(errorIn(messages)).toMatchObject({
    sqlState: '08P01',
    message: 'invalid frontend message type 33',
    fields: { severity: 'FATAL' },
  })
  expect(toy.log.open).toBe(0)
})

test('a slow reader stops the session, and its leaving frees it', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.socket.pause()
  client.send((writer) => writeQuery(writer, 'rows 1000000'))
  await sleep(300)
  expect(toy.log.open).toBe(1)
  expect(process.memoryUsage().arrayBuffers).toBeLessThan(100e6)
  client.destroy()
  await eventually(() => toy.log.open === 0)
})

test('a session that waits for a slow reader can be cancelled', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.socket.pause()
  client.send((writer) => writeQuery(writer, 'rows 300000'))
  await sleep(200)
  toy.server.cancel(toy.log.requests[0]?.processId ?? 0)
  await eventually(() => toy.log.failures.length === 1)
  client.socket.resume()
  expect(errorIn(await client.until('Z')).sqlState).toBe('57014')
  client.destroy()
})

test('a client that sends faster than it is served is not read any further', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  client.send((writer) => writeQuery(writer, 'wait'))
  const megabyte = `begin ${'x'.repeat(1 << 20)}`
  for (let count = 0; count < 64; count += 1) client.send((writer) => writeQuery(writer, megabyte))
  await sleep(300)
  expect(client.socket.writableLength).toBeGreaterThan(30e6)
  toy.server.cancel(toy.log.requests[0]?.processId ?? 0)
  for (let count = 0; count < 65; count += 1) await client.until('Z')
  expect(toy.log.statements).toHaveLength(65)
  client.destroy()
})

test('notices, notifications and parameters', async () => {
  await using toy = await openToy()
  const client = await connected(toy)
  const notices: (string | undefined)[] = []
  const notifications: (string | undefined)[] = []
  client.on('notice', (notice) => notices.push(notice.message))
  client.on('notification', ({ payload }) => notifications.push(payload))
  await client.query('notice look')
  expect(notices).toEqual(['look'])
  await client.query('begin; notify a')
  expect(notifications).toEqual([])
  await client.query('commit')
  expect(notifications).toEqual(['a'])
  toy.log.requests[0]?.client.notify(1, 'toy', 'idle')
  await eventually(() => notifications.length === 2)
  await client.end()
})

test('limits: too many clients, starting up, startup timeout, no user, rejected', async () => {
  await using toy = await openToy({ connectionsMax: 1, authenticationTimeoutMs: 150 })
  const first = await connected(toy)
  await expect(connected(toy)).rejects.toMatchObject({
    code: '53300',
    message: 'sorry, too many clients already',
  })
  await first.end()
  await eventually(() => toy.log.open === 0)
  await (await connected(toy)).end()
  const silent = await RawClient.connect(toy.port)
  const before = Date.now()
  expect(errorIn(await silent.untilEnd()).sqlState).toBe('57014')
  expect(Date.now() - before).toBeLessThan(1000)
  const nobody = await RawClient.connect(toy.port)
  nobody.send((writer) => writeStartup(writer, { database: 'x' }))
  expect(errorIn(await nobody.untilEnd()).sqlState).toBe('28000')

  await using starting = await openToy({ starting: true })
  await expect(connected(starting)).rejects.toMatchObject({
    code: '57P03',
    message: 'the database system is starting up',
  })
  starting.server.ready()
  await (await connected(starting)).end()

  await using closed = await openToy({
    authenticate: () => ({ method: 'reject', error: new DatabaseError('28000', 'not you') }),
  })
  await expect(connected(closed)).rejects.toMatchObject({ code: '28000', severity: 'FATAL' })
})

test('stop: the idle go at once, the busy when done, the stubborn at the deadline', async () => {
  const toy = await openToy()
  const idle = await RawClient.started(toy.port)
  const busy = await RawClient.started(toy.port)
  const waiting = await RawClient.started(toy.port)
  const deaf = await RawClient.started(toy.port)
  busy.send((writer) => writeQuery(writer, 'begin'))
  await busy.until('Z')
  waiting.send((writer) => writeQuery(writer, 'wait'))
  deaf.send((writer) => writeQuery(writer, 'deaf'))
  await eventually(() => toy.log.statements.includes('deaf'))
  const before = Date.now()
  const stopped = toy.server.stop(1500)
  expect(errorIn(await idle.untilEnd())).toMatchObject({
    sqlState: '57P01',
    message: 'terminating connection due to administrator command',
    fields: { severity: 'FATAL' },
  })
  expect(Date.now() - before).toBeLessThan(1000)
  await expect(RawClient.connect(toy.port)).rejects.toThrow()
  busy.send((writer) => writeQuery(writer, 'select more'))
  await busy.until('Z')
  busy.send((writer) => writeQuery(writer, 'commit'))
  expect(kinds(await busy.untilEnd())).toBe('C Z E')
  expect(Date.now() - before).toBeLessThan(1450)
  expect(errorIn(await waiting.untilEnd()).sqlState).toBe('57P01')
  await deaf.untilEnd()
  await stopped
  expect(Date.now() - before).toBeLessThan(6000)
  toy.log.release()
  await eventually(() => toy.log.open === 0)
})

test('a terminated connection is told why', async () => {
  await using toy = await openToy()
  const client = await RawClient.started(toy.port)
  toy.log.requests[0]?.client.terminate(new DatabaseError('57P01', 'go'))
  expect(errorIn(await client.untilEnd()).fields.severity).toBe('FATAL')
})
