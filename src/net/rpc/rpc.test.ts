import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backgroundContext, type Context } from '#base/context.js'
import { DatabaseError, StoreError, UnreachableError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { type MadeCall, openRpcClient } from '#net/rpc/rpc-client.js'
import { openRpcServer, type ServedCall } from '#net/rpc/rpc-server.js'
import { decodeValue, encodeValue } from '#net/rpc/value-codec.js'

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(undefined, null, true, false, Number.NaN, -0, Infinity),
    fc.double(),
    fc.bigInt(),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.float32Array(),
    fc.float64Array(),
    fc.int16Array(),
    fc.bigInt64Array(),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter((name) => name !== '__proto__'),
      tie('any').filter((element) => element !== undefined),
      { maxKeys: 4, noNullPrototype: true },
    ),
    fc
      .array(fc.tuple(fc.string(), tie('any')), { maxLength: 3 })
      .map((entries) => new Map(entries)),
    fc.array(fc.string(), { maxLength: 3 }).map((entries) => new Set(entries)),
  ),
})).any

test('any value comes back as it went', () => {
  fc.assert(
    fc.property(value, (sent) => {
      expect(decodeValue(encodeValue(sent))).toStrictEqual(sent)
    }),
  )
})

test('whatever the room that is left, typed arrays come back as they went', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(sizes, (all) => {
      const sent = all.map((size, i) => new Uint8Array(size).fill(i + 1))
      const back = decodeValue(encodeValue(sent)) as readonly Uint8Array[]
      expect(back.length).toBe(sent.length)
      back.forEach((bytes, i) => {
        expect(Buffer.compare(bytes, sent[i] ?? bytes.subarray(1))).toBe(0)
      })
    }),
    { numRuns: 1000 },
  )
})

test('bytes that are no value are refused, never more', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), value, fc.nat(), (noise, sent, at) => {
      const bent = Uint8Array.from(encodeValue(sent))
      bent[at % bent.length] = at & 255
      for (const bytes of [
        noise,
        Uint8Array.of(1, ...noise),
        bent,
        bent.subarray(0, at % bent.length),
      ]) {
        try {
          decodeValue(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(DatabaseError)
        }
      }
    }),
  )
})

async function serve(
  served: ServedContract,
  onCall?: (call: ServedCall) => void,
  onMadeCall?: (call: MadeCall) => void,
) {
  const server = await openRpcServer({
    host: '127.0.0.1',
    port: 0,
    tls: undefined,
    runtime: systemRuntime,
    onCall,
    find: (contract, object) => (contract === 'test' && object === 'one' ? served : undefined),
  })
  const client = openRpcClient({
    address: `127.0.0.1:${server.port}`,
    tls: undefined,
    runtime: systemRuntime,
    deadlineMs: 5000,
    onCall: onMadeCall,
  })
  return {
    client,
    server,
    async close() {
      client.close()
      await server.stop(100)
    },
  }
}

const target = { contract: 'test', object: 'one' }

test('the query id goes along; who serves and who calls are told of each call that has ended', async () => {
  const told: ServedCall[] = []
  const made: MadeCall[] = []
  const { client, close } = await serve(
    {
      name: async (_args, { queryId }) => queryId,
      refuse: async () => {
        throw new DatabaseError('40001', 'conflict')
      },
      async *count(_args, { queryId }) {
        yield queryId
      },
    },
    (call) => told.push(call),
    (call) => made.push(call),
  )
  const context: Context = { ...backgroundContext, queryId: '7.3' }
  expect(await client.call(target, 'name', [], context)).toBe('7.3')
  expect(await client.call(target, 'name', [], backgroundContext)).toBeUndefined()
  await expect(client.call(target, 'refuse', [], context)).rejects.toMatchObject({
    sqlState: '40001',
  })
  for await (const part of client.stream(target, 'count', [], context)) expect(part).toBe('7.3')
  expect(told.map(({ method, queryId, error }) => [method, queryId, error === undefined])).toEqual([
    ['name', '7.3', true],
    ['name', '', true],
    ['refuse', '7.3', false],
    ['count', '7.3', true],
  ])
  expect(made.map(({ contract, method, failed }) => [contract, method, failed])).toEqual([
    ['test', 'name', false],
    ['test', 'name', false],
    ['test', 'refuse', true],
    ['test', 'count', false],
  ])
  made.forEach(({ ms }, i) => {
    expect(ms).toBeGreaterThanOrEqual(told[i]?.ms ?? Number.POSITIVE_INFINITY)
  })
  await close()
})

test('names that are not served are told as one: they become names of metrics', async () => {
  const told: ServedCall[] = []
  const { client, close } = await serve({ name: async () => 1 }, (call) => told.push(call))
  const made = [
    { contract: 'made up', object: 'one', method: 'name' },
    { contract: 'test', object: 'two', method: 'name' },
    { contract: 'test', object: 'one', method: 'toString' },
  ]
  for (const { contract, object, method } of made) {
    const asked = client.call({ contract, object }, method, [], backgroundContext)
    await expect(asked).rejects.toBeInstanceOf(DatabaseError)
  }
  const names = told.map(({ contract, method, error }) => [contract, method, error !== undefined])
  expect(names).toEqual(made.map(() => ['unknown', 'unknown', true]))
  await close()
})

test('calls return and throw what the method does', async () => {
  const { client, close } = await serve({
    sum: async ([a, b]) => ({ sum: Number(a) + Number(b), list: Float64Array.of(1, 2) }),
    refuse: async () => {
      throw new DatabaseError('23505', 'duplicate', { constraint: 'docs_pkey', detail: 'Key' })
    },
    lose: async () => {
      throw new StoreError('indeterminate', 'gone', undefined, 'full')
    },
  })
  expect(await client.call(target, 'sum', [1, 2], backgroundContext)).toEqual({
    sum: 3,
    list: Float64Array.of(1, 2),
  })
  await expect(client.call(target, 'refuse', [], backgroundContext)).rejects.toMatchObject({
    sqlState: '23505',
    fields: { constraint: 'docs_pkey', detail: 'Key' },
  })
  await expect(client.call(target, 'lose', [], backgroundContext)).rejects.toMatchObject({
    outcome: 'indeterminate',
    reason: 'full',
  })
  await expect(client.call(target, 'toString', [], backgroundContext)).rejects.toMatchObject({
    sqlState: '08P01',
  })
  const other = { contract: 'test', object: 'two' }
  await expect(client.call(other, 'sum', [], backgroundContext)).rejects.toMatchObject({
    sqlState: '57P03',
  })
  await close()
})

test('streams are read at the pace of the reader and end with it', async () => {
  let made = 0
  let ended = false
  const { client, close } = await serve({
    async *count() {
      try {
        for (; made < 1000; made += 1) yield new Uint8Array(100_000).fill(made & 255)
        return 'done'
      } finally {
        ended = true
      }
    },
    async *few() {
      yield 1
      yield 2
      return 'last'
    },
  })
  const few = client.stream(target, 'few', [], backgroundContext)
  expect(await few.next()).toEqual({ value: 1, done: false })
  expect(await few.next()).toEqual({ value: 2, done: false })
  expect(await few.next()).toEqual({ value: 'last', done: true })
  const count = client.stream(target, 'count', [], backgroundContext)
  await count.next()
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(made).toBeLessThan(500)
  await count.return(undefined)
  await expect.poll(() => ended).toBe(true)
  await close()
})

test('a stream that is cancelled before anybody has read from it, or lost then, harms nobody', async () => {
  const { client, close } = await serve({
    async *count() {
      for (let made = 0; ; made += 1) {
        yield made
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    },
  })
  const controller = new AbortController()
  const context = { signal: controller.signal }
  const early = client.stream(target, 'count', [], context)
  controller.abort(new DatabaseError('57014', 'gone'))
  await expect(early.next()).rejects.toMatchObject({ sqlState: '57014' })
  void client.stream(target, 'count', [], backgroundContext)
  await new Promise((resolve) => setTimeout(resolve, 100))
  await close()
  await new Promise((resolve) => setTimeout(resolve, 100))
})

test('a call is cancelled with its context', async () => {
  let reason: unknown
  const { client, close } = await serve({
    wait: (_: readonly unknown[], { signal }: Context) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason
          reject(reason)
        })
      }),
  })
  const controller = new AbortController()
  const waiting = client.call(target, 'wait', [], { signal: controller.signal })
  await new Promise((resolve) => setTimeout(resolve, 100))
  controller.abort(new DatabaseError('57014', 'timeout'))
  await expect(waiting).rejects.toMatchObject({ sqlState: '57014', message: 'timeout' })
  await expect.poll(() => reason).toBeInstanceOf(DatabaseError)
  await close()
})

test('nobody there is unreachable, certainly not done', async () => {
  const { client, close } = await serve({ sum: async () => 1 })
  await close()
  const again = openRpcClient({
    address: '127.0.0.1:1',
    tls: undefined,
    runtime: systemRuntime,
    deadlineMs: 2000,
  })
  await expect(again.call(target, 'sum', [], backgroundContext)).rejects.toSatisfy(
    (error) => error instanceof UnreachableError && error.outcome === 'determinate',
  )
  again.close()
  client.close()
})

test('an attempt to connect that hangs is given up: the next one is heard', async () => {
  // Accepts and says nothing, as when packets are lost; from some time on it passes everything on.
  const { server, close } = await serve({ sum: async () => 1 })
  let isLost = true
  const sockets = new Set<Socket>()
  const wire = createServer((near) => {
    sockets.add(near)
    near.on('error', () => {})
    if (isLost) return
    const far = createConnection({ host: '127.0.0.1', port: server.port })
    near.pipe(far).pipe(near)
    far.on('error', () => near.destroy())
    near.on('close', () => far.destroy())
  })
  await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve))
  const { port } = wire.address() as AddressInfo
  const client = openRpcClient({
    address: `127.0.0.1:${port}`,
    tls: undefined,
    runtime: systemRuntime,
    deadlineMs: 3_600_000,
  })
  const refused = (error: unknown) =>
    error instanceof UnreachableError && error.outcome === 'determinate'
  const several = [1, 2].map(() => client.call(target, 'sum', [], backgroundContext))
  for (const call of several) await expect(call).rejects.toSatisfy(refused)
  const scan = client.stream(target, 'sum', [], backgroundContext)
  await expect(scan.next()).rejects.toSatisfy(refused)
  isLost = false
  expect(await client.call(target, 'sum', [], backgroundContext)).toBe(1)
  client.close()
  wire.close()
  for (const socket of sockets) socket.destroy()
  await close()
})
