import { randomUUID } from 'node:crypto'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { openEtcdMeta } from '#storage/meta/etcd/etcd-meta.js'
import { metaConformance } from '#storage/meta/meta.conformance.js'
import type { MetaStore } from '#storage/meta/meta.js'

/** host:port */
const endpoint = process.env['ELANUS_TEST_ETCD']

if (endpoint === undefined) test.skip('no etcd: ELANUS_TEST_ETCD is not set')
else {
  metaConformance('the meta store in etcd', async () => {
    const options = { endpoints: [endpoint], prefix: `test-${randomUUID()}` }
    let meta = openEtcdMeta(options, systemRuntime)
    const others: MetaStore[] = []
    return {
      meta,
      leasesEnd: true,
      reopen: async () => {
        await meta.close()
        meta = openEtcdMeta(options, systemRuntime)
        return meta
      },
      another: () => {
        const other = openEtcdMeta(options, systemRuntime)
        others.push(other)
        return other
      },
      cleanup: async () => {
        for (const store of [meta, ...others]) await store.close()
      },
    }
  })

  afterEach(async () => {
    for (const end of ending.splice(0)) await end()
  })

  test('a write whose answer is lost is not told as a conflict with itself', async () => {
    const wire = await openWire(endpoint)
    const prefix = `test-${randomUUID()}`
    const near = open(wire.address, prefix)
    const far = open(endpoint, prefix)
    // Connected.
    expect(await near.get('a')).toBeUndefined()
    wire.loseAnswers()
    const write = near.write(
      [{ key: 'a', revision: 0 }],
      [{ kind: 'put', key: 'a', value: Buffer.from('mine') }],
    )
    const refusal = expect(write).rejects.toMatchObject({ outcome: 'indeterminate' })
    while ((await far.get('a')) === undefined) await pause(50)
    wire.cut()
    await refusal
    await expect(write).rejects.toBeInstanceOf(StoreError)
    // A read goes on when the wire does.
    expect(Buffer.from((await near.get('a'))?.value ?? []).toString()).toBe('mine')
  })

  test('a watch whose connection has fallen silent is found out and goes on', async () => {
    const wire = await openWire(endpoint)
    const prefix = `test-${randomUUID()}`
    const near = open(wire.address, prefix)
    const far = open(endpoint, prefix)
    const stopping = new AbortController()
    const seen: string[] = []
    const watching = (async () => {
      for await (const change of near.watch('w/', stopping.signal)) seen.push(change.key)
    })()
    const put = (key: string) => far.write([], [{ kind: 'put', key, value: Buffer.from('x') }])
    for (let i = 0; seen.length === 0; i += 1) {
      await put(`w/${i}`)
      await pause(200)
    }
    wire.loseAnswers()
    await put('w/silent')
    while (!seen.includes('w/silent')) await pause(100)
    stopping.abort()
    await watching
  })

  test('a lease cannot be kept alive in silence: that is told in time', async () => {
    const wire = await openWire(endpoint)
    const near = open(wire.address, `test-${randomUUID()}`)
    const lease = await near.grantLease(2000)
    expect(await lease.keepAlive()).toBe(true)
    wire.loseAnswers()
    await expect(lease.keepAlive()).rejects.toBeInstanceOf(StoreError)
    wire.cut()
  })
}

const ending: (() => Promise<void>)[] = []

function open(address: string, prefix: string): MetaStore {
  const meta = openEtcdMeta({ endpoints: [address], prefix }, systemRuntime)
  ending.unshift(() => meta.close())
  return meta
}

interface Wire {
  readonly address: string
  /** On the connections there are nothing comes back any more; new ones work. */
  loseAnswers(): void
  /** Ends the connections there are. */
  cut(): void
}

async function openWire(etcd: string): Promise<Wire> {
  const [host = '', port] = etcd.split(':')
  const sockets = new Set<Socket>()
  const silences = new Set<() => void>()
  const server: Server = createServer((near) => {
    const far = createConnection({ host, port: Number(port) })
    let isSilent = false
    silences.add(() => {
      isSilent = true
    })
    near.on('data', (bytes: Buffer) => far.write(bytes))
    far.on('data', (bytes: Buffer) => {
      if (!isSilent) near.write(bytes)
    })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    }
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  ending.push(async () => {
    cut()
    server.close()
  })
  return {
    address: typeof bound === 'object' ? `127.0.0.1:${bound?.port}` : '',
    loseAnswers() {
      for (const silence of silences) silence()
      silences.clear()
    },
    cut,
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
