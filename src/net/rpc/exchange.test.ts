import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { credentials } from '@grpc/grpc-js'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { backgroundContext, type Context } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import {
  type Frame,
  frameBytesMax,
  kind,
  type NodeClient,
  NodeClientConstructor,
} from '#net/rpc/node-service.js'
import { openRpcClient, type RpcClient } from '#net/rpc/rpc-client.js'
import { openRpcServer, type RpcServer } from '#net/rpc/rpc-server.js'
import { encodeValue } from '#net/rpc/value-codec.js'

const target = { contract: 'test', object: '' }

async function serve(served: ServedContract): Promise<RpcServer> {
  const server = await openRpcServer({
    ...{ host: '127.0.0.1', port: 0, tls: undefined, runtime: systemRuntime },
    find: (contract) => (contract === 'test' ? served : undefined),
  })
  onTestFinished(() => server.stop(100))
  return server
}

function connect(port: number, deadlineMs = 60_000): RpcClient {
  const address = `127.0.0.1:${port}`
  const client = openRpcClient({ address, tls: undefined, runtime: systemRuntime, deadlineMs })
  onTestFinished(() => client.close())
  return client
}

const echo: ServedContract = {
  echo: async ([value]) => value,
  async *parts([values]) {
    for (const one of values as readonly unknown[]) yield one
    return 'all'
  },
}

function areSame(found: unknown, wanted: readonly Uint8Array[]): boolean {
  const arrays = found as readonly Uint8Array[]
  return (
    arrays.length === wanted.length &&
    wanted.every((bytes, i) => Buffer.compare(bytes, arrays[i] ?? new Uint8Array()) === 0)
  )
}

function isUnreachable(outcome: UnreachableError['outcome']): (error: unknown) => boolean {
  return (error) => error instanceof UnreachableError && error.outcome === outcome
}

test('messages of any size arrive whole, many at a time, in both directions', async () => {
  const { port } = await serve(echo)
  const client = connect(port)
  const size = fc.oneof(
    fc.nat(300),
    fc.integer({ min: -200, max: 200 }).map((over) => frameBytesMax + over),
    fc.integer({ min: -200, max: 200 }).map((over) => 3 * frameBytesMax + over),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(size, { maxLength: 3 }), { maxLength: 12 }), async (all) => {
      await Promise.all(
        all.map(async (sizes, i) => {
          const values = sizes.map((bytes, j) => new Uint8Array(bytes).fill(i * 3 + j + 1))
          const back = await client.call(target, 'echo', [values], backgroundContext)
          expect(areSame(back, values)).toBe(true)
          const parts = client.stream(target, 'parts', [values], backgroundContext)
          for (const value of values) {
            expect(areSame([(await parts.next()).value], [value])).toBe(true)
          }
          expect(await parts.next()).toEqual({ value: 'all', done: true })
        }),
      )
    }),
    { numRuns: 20 },
  )
})

test('a small message passes large ones, there and back', async () => {
  const { port } = await serve({
    ...echo,
    size: async ([sent]) => (sent as Uint8Array).byteLength,
    large: async ([wanted]) => new Uint8Array(Number(wanted)),
  })
  const client = connect(port)
  const bytes = 64 * 1024 * 1024
  const ended: string[] = []
  const noting = async (name: string, call: Promise<unknown>): Promise<unknown> => {
    const result = await call
    ended.push(name)
    return result
  }
  expect(await client.call(target, 'echo', [1], backgroundContext)).toBe(1)
  const there = client.call(target, 'size', [new Uint8Array(bytes)], backgroundContext)
  const first = client.call(target, 'echo', [2], backgroundContext)
  expect(await Promise.all([noting('large', there), noting('small', first)])).toEqual([bytes, 2])
  let isBack = false
  const back = client.call(target, 'large', [bytes], backgroundContext).finally(() => {
    isBack = true
  })
  let passed = 0
  for (; !isBack; passed += 1) await client.call(target, 'echo', [3], backgroundContext)
  await back
  expect(ended).toEqual(['small', 'large'])
  expect(passed).toBeGreaterThan(3)
})

test('a node that stops begins nothing, and ends what it has begun', async () => {
  let finish: (value: string) => void = () => {}
  let count = 0
  const server = await serve({
    wait: () => {
      count += 1
      return new Promise((resolve) => {
        finish = resolve
      })
    },
  })
  const client = connect(server.port)
  const begun = client.call(target, 'wait', [], backgroundContext)
  await expect.poll(() => count).toBe(1)
  const stopped = server.stop(60_000)
  const late = client.call(target, 'wait', [], backgroundContext)
  await expect(late).rejects.toSatisfy(isUnreachable('determinate'))
  finish('done')
  expect(await begun).toBe('done')
  await stopped
  const later = client.call(target, 'wait', [], backgroundContext)
  await expect(later).rejects.toSatisfy(isUnreachable('determinate'))
  expect(count).toBe(1)
})

test('a client that is closed lets its calls end, and is gone then', async () => {
  let finish: (value: string) => void = () => {}
  const server = await serve({
    ...echo,
    wait: () =>
      new Promise((resolve) => {
        finish = resolve
      }),
  })
  const client = connect(server.port)
  const begun = client.call(target, 'wait', [], backgroundContext)
  const parts = client.stream(target, 'parts', [[1, 2, 3, 4, 5]], backgroundContext)
  expect((await parts.next()).value).toBe(1)
  client.close()
  const found: unknown[] = []
  for await (const part of parts) found.push(part)
  expect(found).toEqual([2, 3, 4, 5])
  finish('done')
  expect(await begun).toBe('done')
  await server.stop(60_000)
})

test('a call that is not answered in time ends at both ends; those after it go on', async () => {
  let reason: unknown
  const { port } = await serve({
    ...echo,
    wait: (_: readonly unknown[], { signal }: Context) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason
          reject(reason)
        })
      }),
  })
  const client = connect(port, 300)
  const late = client.call(target, 'wait', [], backgroundContext)
  expect(await client.call(target, 'echo', [1], backgroundContext)).toBe(1)
  await expect(late).rejects.toSatisfy(isUnreachable('indeterminate'))
  await expect.poll(() => reason).toBeDefined()
  expect(await client.call(target, 'echo', [2], backgroundContext)).toBe(2)
})

test('with the connection calls are lost: those that the other side had whole may have been done', async () => {
  const { port } = await serve({ wait: () => new Promise(() => {}), ...echo })
  const sockets: Socket[] = []
  const wire = createServer((near) => {
    const far = createConnection({ host: '127.0.0.1', port })
    sockets.push(near, far)
    for (const socket of [near, far]) socket.on('error', () => {})
    near.pipe(far).pipe(near)
  })
  await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void wire.close())
  const client = connect((wire.address() as AddressInfo).port)
  const whole = client.call(target, 'wait', [], backgroundContext)
  expect(await client.call(target, 'echo', [1], backgroundContext)).toBe(1)
  // Nothing is read any more: the rest of a large request stays here.
  for (const socket of sockets) socket.pause()
  const cut = client.call(target, 'echo', [new Uint8Array(64_000_000)], backgroundContext)
  const outcomes = Promise.all([
    expect(whole).rejects.toSatisfy(isUnreachable('indeterminate')),
    expect(cut).rejects.toSatisfy(isUnreachable('determinate')),
  ])
  await new Promise((resolve) => setTimeout(resolve, 200))
  for (const socket of sockets) socket.destroy()
  await outcomes
  expect(await client.call(target, 'echo', [2], backgroundContext)).toBe(2)
})

test('frames that mean nothing harm nobody else', async () => {
  const { port } = await serve(echo)
  const client = connect(port)
  const frame: fc.Arbitrary<Frame> = fc.record(
    {
      call: fc.nat(3),
      kind: fc.nat(9),
      bytes: fc.uint8Array({ maxLength: 20 }),
      continues: fc.boolean(),
      contract: fc.constantFrom('test', 'none', ''),
      method: fc.constantFrom('echo', 'parts', 'toString'),
      parts: fc.nat(3),
    },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 20 }), async (frames) => {
      const raw = new NodeClientConstructor(
        `127.0.0.1:${port}`,
        credentials.createInsecure(),
      ) as unknown as NodeClient
      const exchange = raw.exchange()
      exchange.on('error', () => {})
      exchange.on('data', () => {})
      for (const one of frames) exchange.write(one)
      expect(await client.call(target, 'echo', [frames.length], backgroundContext)).toBe(
        frames.length,
      )
      exchange.cancel()
      raw.close()
    }),
    { numRuns: 50 },
  )
})

test('a request that comes again is not done again', async () => {
  let count = 0
  const { port } = await serve({
    count: async () => {
      count += 1
      await new Promise((resolve) => setTimeout(resolve, 50))
      return count
    },
  })
  const address = `127.0.0.1:${port}`
  const raw = new NodeClientConstructor(
    address,
    credentials.createInsecure(),
  ) as unknown as NodeClient
  const exchange = raw.exchange()
  exchange.on('error', () => {})
  const answers: Frame[] = []
  exchange.on('data', (frame: Frame) => answers.push(frame))
  const request = { call: 1, kind: kind.request, bytes: encodeValue([]), ...target }
  for (let i = 0; i < 3; i += 1) exchange.write({ ...request, method: 'count' })
  await expect.poll(() => answers.length).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 150))
  expect([count, answers.length, answers[0]?.kind]).toEqual([1, 1, kind.result])
  exchange.cancel()
  raw.close()
})

// Node.js ends a connection with too many streams that are reset: a stream for each call would be one of these.
test('two thousand iterators that are not read to their ends leave the connection as it is', async () => {
  const { port } = await serve({ ...echo, wait: () => new Promise(() => {}) })
  const client = connect(port)
  let isLost = false
  client.call(target, 'wait', [], backgroundContext).catch(() => {
    isLost = true
  })
  for (let i = 0; i < 2000; i += 1) {
    const parts = client.stream(target, 'parts', [[i, 2, 3]], backgroundContext)
    expect((await parts.next()).value).toBe(i)
    await parts.return(undefined)
  }
  expect(isLost).toBe(false)
})
