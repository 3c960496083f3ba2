import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import type { ClusterNode } from '#nodes/coordinator/contract.js'
import { joinCluster, listNodes, watchNodes } from '#nodes/coordinator/membership.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

const runtime = systemRuntime
const leaseMs = 60
const node = (id: string): Omit<ClusterNode, 'life'> => ({
  kind: 'query',
  id,
  address: `127.0.0.1:${id.length}`,
  capacity: 1,
  isDraining: false,
})

test('nodes come, say what changes, go, and die; whoever watches sees it', async () => {
  const disk = new MemoryMetaDisk(runtime)
  const meta = new MemoryMeta(disk, { runtime })
  const dying = new MemoryMeta(disk, { runtime })
  const abort = new AbortController()
  let seen: readonly ClusterNode[] = []
  const watching = (async () => {
    for await (const nodes of watchNodes(meta, abort.signal)) seen = nodes
  })()
  const ids = () => seen.map(({ id, isDraining }) => (isDraining ? `-${id}` : id)).join()
  const a = await joinCluster({ meta, runtime, leaseMs, node: node('a') })
  const b = await joinCluster({ meta: dying, runtime, leaseMs, node: node('b') })
  await expect.poll(ids).toBe('a,b')
  await expect(joinCluster({ meta, runtime, leaseMs, node: node('a') })).rejects.toMatchObject({
    sqlState: '55000',
  })
  await a.update({ isDraining: true })
  await expect.poll(ids).toBe('-a,b')
  dying.crash()
  await expect.poll(ids).toBe('-a')
  await a.leave()
  await expect.poll(ids).toBe('')
  abort.abort()
  await watching
  await b.leave().catch(() => {})
})

test('a node whose lease ended registers anew, as another life', async () => {
  const disk = new MemoryMetaDisk(runtime)
  const meta = new MemoryMeta(disk, { runtime })
  const lost: string[] = []
  const onLost = (of: string) => lost.push(of)
  const member = await joinCluster({ meta, runtime, leaseMs, node: node('a'), onLost })
  const { life } = member
  for (const lease of disk.leases()) disk.expireLease(lease)
  await expect.poll(async () => (await listNodes(meta)).length).toBe(1)
  expect(lost).toEqual([life])
  expect((await listNodes(meta))[0]?.life).toBe(member.life)
  expect(member.life).not.toBe(life)
  await member.leave()
})
