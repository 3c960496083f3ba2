/** DDL whose proxy died between the commit and the DDL log: streaming nodes and coordinator are real, over stores in memory. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SqlState } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import {
  type DistributedStreaming,
  openDistributedStreaming,
} from '#nodes/proxy/distribute/distributed-streaming.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { CatalogChanges } from '#nodes/proxy/session/catalog-changes.js'
import { ddlAppendId } from '#nodes/proxy/session/commit.js'
import { settleLostDdl } from '#nodes/proxy/session/settle-lost-ddl.js'
import { Cluster, request } from '#nodes/streaming/cluster.testing.js'
import { ddlTurnCounter } from '#nodes/streaming/contract.js'
import { context, docs, insert } from '#nodes/streaming/streaming.testing.js'
import { noFault } from '#storage/faults.js'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

let cluster: Cluster
let streaming: DistributedStreaming
let environment: ProxyEnvironment
/** Of the proxy that has the turn. */
let version: number
let recovered: number[]
/** Of the proxy that dies, or is slow. */
let ddlTurn: number

beforeEach(async () => {
  cluster = await Cluster.create(2, 'remote')
  for (const name of cluster.logChannels) await cluster.open(name)
  for (const name of cluster.logChannels) await cluster.node(name).putTable(docs)
  const { coordinator } = cluster
  streaming = openDistributedStreaming({
    nodes: new Map(cluster.logChannels.map((name) => [name, cluster.node(name)])),
    logChannelOf: () => 'log-0',
    oracle: coordinator,
    runtime: systemRuntime,
    areRemote: true,
  })
  version = 0
  recovered = []
  ddlTurn = await coordinator.leaseCounter(ddlTurnCounter, 1, 1)
  const catalog = () => ({ version, tables: new Map() })
  environment = {
    coordinator,
    streaming,
    postgres: {
      catalog,
      async applyDdl(entries: readonly unknown[]) {
        version += entries.length
        return catalog()
      },
    },
    droppedTables: { recover: async (seen: { version: number }) => recovered.push(seen.version) },
    catalogChanges: new CatalogChanges(),
    plans: { clear() {} },
  } as unknown as ProxyEnvironment
})
afterEach(async () => {
  await streaming.stop()
  await cluster.close()
})

const entry = (sql: string): string => JSON.stringify({ sql, firstOid: 1, settings: {} })

/** Commits rows with their DDL, as a proxy that dies right after. */
async function commitWithDdl(id: number, at: number, ...sql: readonly string[]) {
  const { inserts } = insert({ id, name: `doc ${id}` })
  const ddl = utf8(JSON.stringify({ version: at, entries: sql.map(entry) }))
  const write = { shard: 0, ...(inserts === undefined ? {} : { inserts }) }
  return await cluster.node('log-0').commit({ ...request([write]), ddl, ddlTurn }, context)
}

async function logged(): Promise<readonly string[]> {
  const entries = await cluster.coordinator.ddlLog()
  return entries.map((one) => (JSON.parse(new TextDecoder().decode(one)) as { sql: string }).sql)
}

test('is added before the next DDL, once', async () => {
  await commitWithDdl(1, 0, 'CREATE TABLE a ()', 'CREATE TABLE b ()')
  await settleLostDdl(environment, context)
  expect(await logged()).toEqual(['CREATE TABLE a ()', 'CREATE TABLE b ()'])
  expect(version).toBe(2)
  expect(recovered).toEqual([2])
  await settleLostDdl(environment, context)
  expect(await logged()).toHaveLength(2)
  expect(await streaming.unsettledDdl(0, context)).toEqual([])
})

test('of a proxy that is slow, not dead, is added once', async () => {
  const { timestamp } = await commitWithDdl(1, 0, 'CREATE TABLE a ()')
  await settleLostDdl(environment, context)
  const [added] = await cluster.coordinator.ddlLog()
  const id = ddlAppendId(timestamp as Timestamp)
  expect(await cluster.coordinator.appendDdl(0, [added ?? utf8('')], id)).toBe(true)
  expect(await logged()).toHaveLength(1)
})

test('that the DDL log has is settled and not added again, also after a restart of its owner', async () => {
  await commitWithDdl(1, 0, 'CREATE TABLE a ()')
  await cluster.coordinator.appendDdl(0, [utf8(entry('CREATE TABLE a ()'))])
  version = 1
  await cluster.members.get('log-0')?.stop()
  await cluster.open('log-0')
  const nodes = new Map(cluster.logChannels.map((name) => [name, cluster.node(name)]))
  const reopened = openDistributedStreaming({
    ...{ nodes, logChannelOf: () => 'log-0', oracle: cluster.coordinator },
    ...{ runtime: systemRuntime, areRemote: true },
  })
  expect(await reopened.unsettledDdl(0, context)).toHaveLength(1)
  await settleLostDdl({ ...environment, streaming: reopened }, context)
  expect(await reopened.unsettledDdl(0, context)).toEqual([])
  expect(await logged()).toHaveLength(1)
  expect(recovered).toEqual([])
  await reopened.stop()
})

test('several in a row are added in their order', async () => {
  await commitWithDdl(1, 0, 'CREATE TABLE a ()')
  ddlTurn += 1
  await commitWithDdl(2, 1, 'CREATE TABLE b ()')
  await settleLostDdl(environment, context)
  expect(await logged()).toEqual(['CREATE TABLE a ()', 'CREATE TABLE b ()'])
})

test('that is not committed yet when another has the turn is not committed any more', async () => {
  await settleLostDdl(environment, context)
  await expect(commitWithDdl(1, 0, 'CREATE TABLE a ()')).rejects.toMatchObject({
    sqlState: SqlState.serializationFailure,
  })
  expect(await streaming.unsettledDdl(0, context)).toEqual([])
})

test('that is not committed yet when another has the turn is not committed by an owner that opens later, either', async () => {
  await settleLostDdl(environment, context)
  await cluster.members.get('log-0')?.stop()
  await cluster.open('log-0')
  await expect(commitWithDdl(1, 0, 'CREATE TABLE a ()')).rejects.toMatchObject({
    sqlState: SqlState.serializationFailure,
  })
  ddlTurn = await cluster.coordinator.leaseCounter(ddlTurnCounter, 1, 1)
  await commitWithDdl(1, 0, 'CREATE TABLE a ()')
})

test('that the owner takes from the log while another takes its place is known to that one', async () => {
  await commitWithDdl(1, 0, 'CREATE TABLE a ()')
  cluster.walFaults = (operation) =>
    operation === 'wal.openWriter' ? { ...noFault, delayBeforeMs: 200 } : noFault
  const [before] = [...cluster.members.values()]
  const opening = cluster.open('log-0')
  await new Promise((resolve) => setTimeout(resolve, 50))
  await before?.node.flush(undefined, context)
  const { node } = await opening
  expect(await node.unsettledDdl(0, context)).toHaveLength(1)
  await before?.stop()
})

test('that is on its way to the log when another takes the turn is waited for, and added', async () => {
  cluster.walFaults = () => ({ ...noFault, delayBeforeMs: 30 })
  const committing = commitWithDdl(1, 0, 'CREATE TABLE a ()')
  await new Promise((resolve) => setTimeout(resolve, 10))
  await settleLostDdl(environment, context)
  await committing
  expect(await logged()).toEqual(['CREATE TABLE a ()'])
})
