/** Sessions of several proxies: process ids that are unique, and what reaches a session through another proxy. */
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import type { Connections } from '#cluster/connections.js'
import type { KnownNodes } from '#cluster/known-nodes.js'
import {
  openOtherSessions,
  processIdCount,
  processIdsAbove,
  serveSessions,
} from '#cluster/other-sessions.js'
import { openRpcClient } from '#net/rpc/rpc-client.js'
import { openRpcServer } from '#net/rpc/rpc-server.js'
import type { SessionFact } from '#nodes/proxy/contract.js'

const runtime = systemRuntime

test('process ids of proxies that follow each other are apart, and fit an int4', () => {
  const ranges = Array.from({ length: 2048 }, (_, i) => processIdsAbove(i + 1))
  expect(new Set(ranges).size).toBe(2048)
  expect(Math.max(...ranges) + processIdCount - 1).toBeLessThanOrEqual(0x7fff_ffff)
  expect(processIdsAbove(2)).toBe(processIdsAbove(1) + processIdCount)
})

test('others’ sessions are shown, signalled and cancelled; a proxy that is gone is left out', async () => {
  const heard: unknown[] = []
  const fact: SessionFact = {
    ...{ processId: 7, user: 'u', applicationName: 'a', remoteHost: '127.0.0.1', remotePort: 1 },
    ...{ startedMs: 1, transactionStartMs: undefined, queryStartMs: 0, state: 'idle', sql: '' },
  }
  const served = serveSessions(
    {
      sessions: () => [fact],
      signal: (processId, signal) => {
        heard.push([processId, signal])
        return true
      },
    },
    (processId, secretKey) => heard.push([processId, ...secretKey]),
  )
  const find = (contract: string) => (contract === 'sessions' ? served : undefined)
  const server = await openRpcServer({
    ...{ host: '127.0.0.1', port: 0, tls: undefined, runtime, find },
  })
  const client = (port: number) =>
    openRpcClient({ address: `127.0.0.1:${port}`, tls: undefined, runtime, deadlineMs: 2000 })
  const clients = new Map([
    ['there', client(server.port)],
    ['gone', client(1)],
  ])
  const errors: unknown[] = []
  const present = ['here', 'there', 'gone'].map((address) => ({ address }))
  const others = openOtherSessions({
    nodes: { ofKind: () => present } as unknown as KnownNodes,
    connections: { promptTo: (address) => clients.get(address) } as Connections,
    address: 'here',
    onError: (error) => errors.push(error),
  })
  expect((await others.sessions()).map(({ processId }) => processId)).toEqual([7])
  others.signal(7, 'cancel')
  others.signal(7, 'terminate')
  others.cancelByKey(7, Uint8Array.of(1, 2))
  await expect.poll(() => heard.length).toBe(3)
  expect(heard).toEqual(
    expect.arrayContaining([
      [7, 'cancel'],
      [7, 'terminate'],
      [7, 1, 2],
    ]),
  )
  expect(errors).toEqual([])
  for (const one of clients.values()) one.close()
  await server.stop(100)
})
