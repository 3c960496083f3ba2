import { expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { systemRuntime } from '#base/system-runtime.js'
import { openConnections } from '#cluster/connections.js'
import { followCatalog, serveProxy, tellCatalog } from '#cluster/current-catalog.js'
import { openRpcServer, type RpcServer } from '#net/rpc/rpc-server.js'
import { joinCluster, type Membership } from '#nodes/coordinator/membership.js'
import type { ProxyNode } from '#nodes/proxy/contract.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

const runtime = systemRuntime
const leaseMs = 2000

/** Answers for a proxy as far as its catalog goes. */
async function openPeer(refreshCatalog: (version?: number) => Promise<void>): Promise<RpcServer> {
  const proxy = { refreshCatalog, notify: () => {} } as unknown as ProxyNode
  const served = serveProxy(proxy)
  return await openRpcServer({
    host: '127.0.0.1',
    port: 0,
    tls: undefined,
    runtime,
    find: (contract) => (contract === 'proxy' ? served : undefined),
  })
}

const member = (address: string) => ({
  kind: 'proxy' as const,
  id: address,
  address,
  capacity: 1,
  isDraining: false,
})

test('DDL waits until the other proxies have it; for one that is gone until its membership ends', async () => {
  const disk = new MemoryMetaDisk(runtime)
  const meta = new MemoryMeta(disk, { runtime })
  const connections = openConnections(runtime, undefined, undefined)
  const taken: (number | undefined)[] = []
  const peer = await openPeer(async (version) => {
    await runtime.sleep(50)
    taken.push(version)
  })
  const here = await joinCluster({ meta, runtime, leaseMs, node: member('127.0.0.1:1') })
  const there = await joinCluster({
    meta,
    runtime,
    leaseMs,
    node: member(`127.0.0.1:${peer.port}`),
  })
  const errors: unknown[] = []
  const options = {
    meta,
    connections,
    runtime,
    address: '127.0.0.1:1',
    onError: (error: unknown) => errors.push(error),
  }
  await tellCatalog(options, 7, backgroundContext)
  expect(taken).toEqual([7])
  await peer.stop(0)
  let isTold = false
  const telling = tellCatalog(options, 8, backgroundContext).then(() => {
    isTold = true
  })
  await runtime.sleep(300)
  expect(isTold).toBe(false)
  await there.leave()
  await telling
  expect(taken).toEqual([7])
  expect(errors).toEqual([])
  await here.leave()
  connections.close()
})

test('a proxy is sure of its catalog once it has looked since it joined, and while its membership lasts by its own clock', async () => {
  const disk = new MemoryMetaDisk(runtime)
  const meta = new MemoryMeta(disk, { runtime })
  let aheadMs = 0
  const clock = { ...runtime, monotonicMs: () => runtime.monotonicMs() + aheadMs }
  let looks = 0
  let membership: Membership | undefined
  const catalog = followCatalog(
    {
      refreshCatalog: async () => {
        looks += 1
      },
    },
    () => membership,
  )
  await catalog.refresh()
  expect(catalog.isCurrent()).toBe(false)
  membership = await joinCluster({ meta, runtime: clock, leaseMs, node: member('127.0.0.1:1') })
  expect(catalog.isCurrent()).toBe(false)
  await catalog.refresh()
  expect(catalog.isCurrent()).toBe(true)
  // Cut off from the store: nothing is renewed.
  aheadMs = leaseMs
  expect(catalog.isCurrent()).toBe(false)
  await catalog.refresh()
  expect(catalog.isCurrent()).toBe(false)
  expect(looks).toBe(3)
  // Taken for dead meanwhile, and back as another life: it has not looked since.
  for (const lease of disk.leases()) disk.expireLease(lease)
  const { life } = membership
  const isBack = () => membership?.life !== life && membership?.isPresent === true
  await expect.poll(isBack, { timeout: 30_000 }).toBe(true)
  expect(catalog.isCurrent()).toBe(false)
  await catalog.refresh()
  expect(catalog.isCurrent()).toBe(true)
  await membership.leave()
  expect(catalog.isCurrent()).toBe(false)
})
