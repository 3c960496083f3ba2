/** Every kind of node in one process, over the stores that open-stores.ts gives. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { divideMemory } from '#base/memory-division.js'
import type { MemoryPart } from '#base/memory-parts.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Config, ConfigError, postgresCount } from '#config.js'
import { native } from '#engine/index/native.js'
import { formatVerifier, makeVerifier, saltBytes } from '#net/pgwire/scram.js'
import { openPgServer, type PgServerOptions } from '#net/pgwire/server.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { logChannelsSetting } from '#nodes/coordinator/meta-keys.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { createLocalLocks } from '#nodes/locks/local-locks.js'
import type { ProxyNode } from '#nodes/proxy/contract.js'
import { openDistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import type { ClusterFacts, MemoryFact } from '#nodes/proxy/live/cluster-facts.js'
import { openProxy } from '#nodes/proxy/proxy.js'
import { decodeDdl, decodeDdlBatch } from '#nodes/proxy/session/commit.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import type { LocalStreamingNode } from '#nodes/streaming/node.js'
import { openReopeningStreamingNode } from '#nodes/streaming/reopening-node.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'
import { objectsUrlOf, openMeta, openStores, type Stores } from '#open-stores.js'
import { type Operations, showLogChannels, showMemory } from '#operations.js'
import type { Postgres } from '#postgres/contract.js'
import { openPostgres } from '#postgres/open.js'

export interface Standalone {
  readonly host: string
  readonly port: number
  /** Drains: idle clients go at once, transactions may end, then everything is closed in order. */
  stop(): Promise<void>
}

export interface StandaloneEvents {
  /** Something failed in a way that only a restart mends: acknowledged writes are in the log. */
  readonly fatal: (error: unknown) => void
  /** A defect: a client was told XX000. */
  readonly problem: (what: string, error: unknown) => void
  /** Failed and is tried again. */
  readonly retry: (what: string, error: unknown) => void
}

export const snapshotPath = fileURLToPath(
  new URL('../build/snapshot/postgres.snapshot', import.meta.url),
)
const drainDeadlineMs = 10_000

/**
 * Opens from the bottom up: stores, coordinator, query, data and streaming node (which replays the log), the catalog
 * (which replays the DDL), the proxy, the listener.
 */
export async function assembleStandalone(
  config: Config,
  events: StandaloneEvents,
  operations: Operations,
): Promise<Standalone> {
  const runtime = systemRuntime
  const stores = await openStores(config, runtime)
  const coordinator = await openCoordinator({
    meta: stores.meta,
    objects: stores.objects,
    runtime,
    leadership: stores.isExclusive ? 'exclusive' : 'elected',
  })
  const logChannelCount = await fixLogChannelCount(config, coordinator).catch(async (error) => {
    await coordinator.stop()
    await stores.close()
    throw error
  })
  const ddlLog = await coordinator.ddlLog()
  // The catalog starts in its worker while the log is replayed here.
  const openingPostgres = openPostgres({
    snapshotPath,
    ddlLog: ddlLog.map(decodeDdl),
    imagePath: join(config.data, 'catalog.image'),
    evaluatorCount: config.evaluators,
  })
  openingPostgres.catch(() => {})
  const logChannels = Array.from({ length: logChannelCount }, (_, i) => `log-${i}`)
  const engine = await openEngine(config, stores, coordinator, logChannels, events)
  const postgres = await openingPostgres
  await settleRecoveredDdl(ddlLog.length, [...engine.nodes.values()], coordinator, postgres)
  const streaming = openDistributedStreaming({
    nodes: engine.nodes,
    logChannelOf: (tableId, shard) => logChannelOf(tableId, shard, logChannelCount),
    oracle: coordinator,
    runtime,
    areRemote: !stores.isExclusive,
  })
  const proxy = await openProxy({
    postgres,
    streaming,
    coordinator,
    locks: createLocalLocks(),
    runtime,
    retentionMs: config.retention,
    objectsUrl: objectsUrlOf(config),
    createUnknownUsers: config.auth === 'trust',
    onStatement: operations.onStatement,
    facts: factsOf(config, engine.memory),
  })
  showMemory(operations, engine.memory)
  showLogChannels(operations, () => [...engine.nodes.values()])
  const listeners = await listen(config, proxy, operations, events)
  return {
    host: listeners.host,
    port: listeners.port,
    async stop() {
      await listeners.stop()
      await proxy.stop()
      await streaming.stop()
      await engine.stop()
      await postgres.close()
      await coordinator.stop()
      await stores.close()
    },
  }
}

/** Query and data node, and a streaming node per log channel, which replays it. */
async function openEngine(
  config: Config,
  { wal, objects, isExclusive }: Stores,
  coordinator: Coordinator,
  logChannels: readonly string[],
  events: StandaloneEvents,
) {
  const runtime = systemRuntime
  const division = divideMemory(config.memory, postgresCount(config.evaluators))
  const memory = new WriteMemory({ runtime, hardBytes: division.growingBytes })
  const queryNode = startQueryNode({
    native,
    objects,
    runtime,
    verifyChecksums: false,
    memoryBytes: division.sealedBytes,
    onDamaged: (error) => events.problem('an index is damaged and not used', error),
  })
  const dataNode = await startDataNode({
    native,
    objects,
    runtime,
    temporaryDirectory: join(config.data, 'temporary'),
    threads: config.threads,
    verifyChecksums: false,
  })
  const nodes = new Map<string, LocalStreamingNode>()
  for (const logChannel of logChannels) {
    const node = await openReopeningStreamingNode({
      wal,
      logChannel,
      logChannelCount: logChannels.length,
      ownership: isExclusive ? 'exclusive' : 'leased',
      peers: (other) => nodes.get(other),
      coordinator,
      queryNode,
      dataNode,
      native,
      runtime,
      memory,
      limits: {
        // Several are being filled, flushed and emptied at a time.
        segmentBytesMax: Math.min(config.sealBytes, division.growingBytes / 6),
        retentionMs: config.retention,
      },
      onBackgroundError: (error) =>
        events.retry('background work failed and is tried again', error),
      onFailure: events.fatal,
    })
    nodes.set(logChannel, node)
  }
  return {
    nodes,
    memory: () => [sealedMemory(queryNode), growingMemory(memory)],
    async stop() {
      await Promise.all([...nodes.values()].map((node) => node.stop()))
      await queryNode.stop()
      await dataNode.stop()
    },
  }
}

/** @throws ConfigError when the database was made with another number: its rows lie where that says */
export async function fixLogChannelCount(
  { logChannels }: Config,
  coordinator: Coordinator,
): Promise<number> {
  const stored = await coordinator.getSetting(logChannelsSetting)
  // A database of before the setting was kept has one.
  const isNew = stored === undefined && (await coordinator.ddlLog()).length === 0
  const count = stored === undefined ? 1 : Number(new TextDecoder().decode(stored))
  if (isNew) {
    const wanted = logChannels ?? 1
    await coordinator.putSetting(logChannelsSetting, new TextEncoder().encode(String(wanted)))
    return wanted
  }
  if (logChannels !== undefined && logChannels !== count) {
    throw new ConfigError(
      `--log-channels: this database was made with ${count}, which cannot be changed; leave the setting out, or copy ` +
        'the data into a database that is started with another number',
    )
  }
  return count
}

export function sealedMemory(queryNode: QueryNode): MemoryPart {
  const { loads, evictions, usedBytes, budgetBytes } = queryNode.memory()
  return { name: 'sealed', usedBytes, budgetBytes, events: { load: loads, evict: evictions } }
}

export function growingMemory(memory: WriteMemory): MemoryPart {
  return {
    name: 'growing',
    usedBytes: memory.measure(),
    budgetBytes: memory.hardBytes,
    events: { delay: memory.delayedCount, refuse: memory.refusedCount },
  }
}

export function processMemory(): readonly MemoryFact[] {
  const { rss, heapUsed } = process.memoryUsage()
  return [
    { name: 'process', usedBytes: rss, budgetBytes: 0, events: {} },
    { name: 'JavaScript heap', usedBytes: heapUsed, budgetBytes: 0, events: {} },
  ]
}

/** As in package.json. */
export const programVersion = '0.1.0'

/** DDL whose commit is in the log but did not reach the coordinator's DDL log before the process ended. */
async function settleRecoveredDdl(
  loggedCount: number,
  nodes: readonly LocalStreamingNode[],
  coordinator: Coordinator,
  postgres: Postgres,
): Promise<void> {
  let version = loggedCount
  const recovered = nodes
    .flatMap((node) => node.recoveredDdl.map((entry) => ({ ...entry, node })))
    .sort((a, b) => a.timestamp - b.timestamp)
  for (const { timestamp, ddl, node } of recovered) {
    const batch = decodeDdlBatch(ddl)
    if (batch.version === version) {
      await coordinator.appendDdl(version, batch.entries)
      await postgres.applyDdl(batch.entries.map(decodeDdl))
      version += batch.entries.length
    }
    await node.settleDdl(timestamp)
  }
}

export async function listen(
  config: Config,
  proxy: ProxyNode,
  operations: Operations,
  events: StandaloneEvents,
  shared: Pick<PgServerOptions, 'processIds' | 'cancelElsewhere'> = {},
) {
  const server = await openPgServer({
    host: config.host,
    port: config.port,
    runtime: systemRuntime,
    connectionsMax: config.maxConnections,
    authenticate: async (user) =>
      config.auth === 'trust'
        ? { method: 'trust' }
        : { method: 'scram', verifier: await proxy.passwordVerifier(user) },
    openSession: proxy.openSession,
    ...shared,
    internalError: (id, error) => events.problem(`internal error ${id}`, error),
  })
  operations.metrics.onLook((show) => {
    show('elanus_connections', 'Clients that are connected', server.connectionCount)
  })
  return {
    host: server.host,
    port: server.port,
    cancelByKey: (processId: number, secretKey: Uint8Array) =>
      server.cancelByKey(processId, secretKey),
    async stop() {
      await server.stop(drainDeadlineMs)
    },
  }
}

/** Makes the password of the first superuser known, before anybody can connect. */
export async function storePassword(
  config: Pick<Config, 'data' | 'meta'>,
  user: string,
  password: string,
): Promise<void> {
  const meta = await openMeta(config, systemRuntime)
  const coordinator = await openCoordinator({ meta, runtime: systemRuntime })
  await putPassword(coordinator, user, password)
  await coordinator.stop()
  await meta.close()
}

/** What is stored is the verifier, not the password. @throws StoreError */
export async function putPassword(
  coordinator: Pick<Coordinator, 'putSetting'>,
  user: string,
  password: string,
): Promise<void> {
  const verifier = await makeVerifier(password, systemRuntime.randomBytes(saltBytes))
  const stored = new TextEncoder().encode(formatVerifier(verifier))
  await coordinator.putSetting(`password/${user}`, stored)
}

/** Every kind of node is in this process. */
function factsOf(config: Config, memory: () => readonly MemoryPart[]): ClusterFacts {
  const startedMs = systemRuntime.nowMs()
  return {
    replicas: () => ({ byDefault: 1, nodeCount: 1, isStandalone: true }),
    ownerOf: () => undefined,
    nodes: async () =>
      ['proxy', 'coordinator', 'streaming', 'query', 'data'].map((kind) => ({
        name: `${kind}-1`,
        kind,
        state: 'active',
        address: kind === 'proxy' ? `${config.host}:${config.port}` : 'in process',
        startedMs,
        version: programVersion,
      })),
    memory: async () => [...memory(), ...processMemory()],
  }
}
