/**
 * A process of a cluster: the nodes that --node names, over the stores that all processes share. Everything between nodes goes
 * over the network, also when both are in this process: there is one way.
 *
 * Who is there: leases in the meta store (membership.ts). Who owns which log channel: the leading coordinator
 * (place-log-channels.ts). Which query nodes hold a segment: the owner of its log channel (placed-query-nodes.ts).
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  fixLogChannelCount,
  growingMemory,
  listen,
  processMemory,
  programVersion,
  type Standalone,
  type StandaloneEvents,
  sealedMemory,
  snapshotPath,
} from '#assemble.js'
import { backgroundContext } from '#base/context.js'
import { divideMemory } from '#base/memory-division.js'
import type { MemoryPart } from '#base/memory-parts.js'
import { systemRuntime } from '#base/system-runtime.js'
import {
  type CurrentCatalog,
  followCatalog,
  serveProxy,
  tellCatalog,
} from '#cluster/current-catalog.js'
import { takeDdlTurn } from '#cluster/ddl-turn.js'
import { followOwners } from '#cluster/follow-owners.js'
import { followPlacement } from '#cluster/follow-placement.js'
import { followReplicaCounts } from '#cluster/follow-replica-counts.js'
import { followDataNodes, followQueryNodes } from '#cluster/follow-workers.js'
import { untilGivenAway, within } from '#cluster/leave.js'
import { openNotifier } from '#cluster/notify-proxies.js'
import { type Member, openMember } from '#cluster/open-member.js'
import {
  openOtherSessions,
  processIdCount,
  processIdsAbove,
  serveSessions,
} from '#cluster/other-sessions.js'
import { gatherFacts, serveFacts } from '#cluster/process-facts.js'
import { startWatchingKey } from '#cluster/watch-key.js'
import { advertised, type Config, isLoopback, type NodeKind, postgresCount } from '#config.js'
import { native } from '#engine/index/native.js'
import { formatVerifier, makeVerifier, saltBytes } from '#net/pgwire/scram.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type { RpcTls } from '#net/rpc/rpc-server.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { startCandidate } from '#nodes/coordinator/leader.js'
import type { Membership } from '#nodes/coordinator/membership.js'
import { logChannelsSetting, metaKeys } from '#nodes/coordinator/meta-keys.js'
import { placeLogChannels } from '#nodes/coordinator/place-log-channels.js'
import { placeSegments } from '#nodes/coordinator/place-segments.js'
import { serveCoordinator } from '#nodes/coordinator/serve.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { serveData } from '#nodes/data/serve.js'
import { followLocks } from '#nodes/locks/follow-locks.js'
import { openLeasedLocks } from '#nodes/locks/leased-locks.js'
import { remoteLocks } from '#nodes/locks/remote.js'
import { serveLocks } from '#nodes/locks/serve.js'
import { openDistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import { openProxy } from '#nodes/proxy/proxy.js'
import { ddlAppendId, decodeDdl, decodeDdlBatch } from '#nodes/proxy/session/commit.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import { serveQuery } from '#nodes/query/serve.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import { openStreamingHost } from '#nodes/streaming/host.js'
import type { LocalStreamingNode } from '#nodes/streaming/node.js'
import { serveStreaming } from '#nodes/streaming/serve.js'
import { remoteHost, serveHost } from '#nodes/streaming/serve-host.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'
import { objectsUrlOf, openStores, type Stores } from '#open-stores.js'
import { type Operations, showLogChannels, showMemory } from '#operations.js'
import { openPostgres } from '#postgres/open.js'

const runtime = systemRuntime
/** Nodes that hold each sealed segment, where there are so many. */
const replicaCount = 2
/** How old a proxy's idea of what is readable may be, for reads that may be old. */
const serviceTimeMs = 250
const catalogLookMs = 2000
/** What is held goes to others: log channels, segments, jobs under way. */
const drainMsMax = 15_000
/** One step of stopping; a proxy's grace for transactions is in it. */
const stopMsMax = 20_000
const announceMsMax = 2000
const leadAgainMs = 2000
/** What is waited for at the start is told no more often. */
const tellEveryMs = 5000

interface Opened {
  readonly membership: Membership
  /** After all have heard that it leaves, and while they still find it: resolves when it holds nothing. */
  readonly drain?: () => Promise<void>
  /** Ends it; then it leaves. */
  readonly stop: () => Promise<void>
}

interface Assembling {
  readonly config: Config
  readonly events: StandaloneEvents
  readonly stores: Stores
  readonly member: Member
  readonly operations: Operations
  /** What the nodes of this process take of it. */
  readonly memory: (() => MemoryPart)[]
}

/** @throws ConfigError; StoreError; UnreachableError */
export async function assembleNode(
  config: Config,
  events: StandaloneEvents,
  operations: Operations,
  password: string | undefined,
): Promise<Standalone> {
  const stores = await openStores(config, runtime)
  const tls = readTls(config)
  const member = await openMember({
    meta: stores.meta,
    runtime,
    address: advertised(config),
    rpcHost: tls === undefined ? '127.0.0.1' : '0.0.0.0',
    rpcPort: config.rpcPort,
    tls,
    onError: events.retry,
    onCall: operations.onCall,
    onMadeCall: operations.onMadeCall,
  })
  const memory: (() => MemoryPart)[] = []
  const assembling = { config, events, stores, member, operations, memory }
  const startedMs = runtime.nowMs()
  const facts = serveFacts(() => ({
    startedMs,
    version: programVersion,
    memory: [...memory.map((part) => part()), ...processMemory()],
  }))
  member.serve('facts', () => facts)
  const kinds = new Set<NodeKind>(config.node)
  const opened: Opened[] = []
  let listeners: Awaited<ReturnType<typeof listen>> | undefined
  const step = (ms: number, work: () => Promise<unknown>) =>
    within(runtime, ms, work, (error) => events.retry('leaving', error))
  const stop = async (): Promise<void> => {
    const announced = opened.map(({ membership }) => membership.update({ isDraining: true }))
    await step(announceMsMax, () => Promise.allSettled(announced))
    for (const one of [...opened].reverse()) {
      await one.drain?.()
      await step(stopMsMax, one.stop)
    }
    await step(stopMsMax, () => member.close())
    await step(stopMsMax, () => stores.close())
  }
  try {
    // From the bottom up: a node is told of when it can serve.
    if (kinds.has('coordinator')) opened.push(await openCoordinatorNode(assembling))
    if (kinds.has('query')) opened.push(await openQueryNode(assembling))
    if (kinds.has('data')) opened.push(await openDataNode(assembling))
    if (kinds.has('streaming')) opened.push(await openStreamingNodes(assembling))
    if (kinds.has('proxy')) {
      const proxy = await openProxyNode(assembling, password)
      listeners = proxy.listeners
      opened.push(proxy)
    }
  } catch (error) {
    // A half that lives on would keep what it has taken.
    await stop().catch((also: unknown) => events.retry('stopping after a failed start', also))
    throw error
  }
  return {
    host: listeners?.host ?? '127.0.0.1',
    port: listeners?.port ?? config.rpcPort,
    stop,
  }
}

function readTls({ tlsAuthority, tlsCertificate, tlsKey }: Config): RpcTls | undefined {
  if (tlsAuthority === undefined || tlsCertificate === undefined || tlsKey === undefined) return
  return {
    authority: readFileSync(tlsAuthority),
    certificate: readFileSync(tlsCertificate),
    key: readFileSync(tlsKey),
  }
}

async function openCoordinatorNode(assembling: Assembling): Promise<Opened> {
  const { config, events, stores, member, operations } = assembling
  let locks: ServedContract | undefined
  const candidate = startCandidate({
    meta: stores.meta,
    objects: stores.objects,
    runtime,
    id: member.address,
    onError: (error) => events.retry('standing for coordinator', error),
    onLeading(coordinator, signal) {
      const lead = async (): Promise<void> => {
        const logChannels = namesOf(await fixLogChannelCount(config, coordinator))
        const placingChannels = placeLogChannels(
          {
            coordinator,
            runtime,
            logChannels,
            nodes: () => member.nodes.ofKind('streaming'),
            holder: (address) =>
              remoteHost(member.connections.to(address), member.connections.promptTo(address)),
            onError: (error) => events.retry('placing log channels', error),
          },
          signal,
        )
        await Promise.all([placingChannels, placeAllSegments(assembling, coordinator, signal)])
      }
      const onError = (error: unknown) => events.retry('leading', error)
      const keepLocks = async (): Promise<void> => {
        locks = serveLocks(await openLeasedLocks({ coordinator, runtime, signal, onError }))
        if (signal.aborted) locks = undefined
      }
      signal.addEventListener('abort', () => {
        locks = undefined
      })
      void again(lead, signal, onError)
      void again(keepLocks, signal, onError)
    },
  })
  member.serve('coordinator', () => serveCoordinator(candidate))
  member.serve('locks', () => locks)
  const membership = await member.join('coordinator', 1, () => {})
  checkMembership(operations, 'coordinator', membership)
  operations.metrics.onLook((show) => {
    show('elanus_coordinator_leading', 'Whether it leads', candidate.isLeading() ? 1 : 0)
  })
  return {
    membership,
    async stop() {
      // Another leads at once; who asks here is told so.
      await candidate.stop()
      await membership.leave()
    },
  }
}

/** While this coordinator leads. */
async function placeAllSegments(
  { events, stores, member }: Assembling,
  coordinator: Coordinator,
  signal: AbortSignal,
): Promise<void> {
  const onError = (error: unknown) => events.retry('placing segments', error)
  const replicaCounts = followReplicaCounts(stores.meta, runtime, onError)
  await placeSegments(
    {
      coordinator,
      runtime,
      nodes: () => member.nodes.ofKind('query'),
      replicaCount,
      replicaCounts: () => replicaCounts.current(),
      onError,
    },
    signal,
  )
  await replicaCounts.stop()
}

/** Until it has been done once, or the signal aborts. */
async function again(
  work: () => Promise<void>,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work()
      return
    } catch (error) {
      if (!signal.aborted) onError(error)
      await runtime.sleep(leadAgainMs, signal).catch(() => {})
    }
  }
}

/** A life that has ended has forgotten: the segments of the next begin empty. */
async function openQueryNode({
  config,
  events,
  stores,
  member,
  operations,
  memory,
}: Assembling): Promise<Opened> {
  const start = () =>
    startQueryNode({
      native,
      objects: stores.objects,
      runtime,
      verifyChecksums: false,
      memoryBytes: division(config).sealedBytes,
      onDamaged: (error) => events.problem('an index is damaged and not used', error),
    })
  let node = start()
  let served = serveQuery(node)
  const membership: Membership = await member.join('query', config.memory, () => {
    const ended = node
    node = start()
    served = serveQuery(node)
    ended.stop().catch((error: unknown) => events.retry('ending a query node', error))
  })
  checkMembership(operations, 'query', membership)
  showMemory(operations, () => [sealedMemory(node)])
  operations.metrics.onLook((show) => {
    const { segmentCount, residentCount, waitingCount } = node.memory()
    show('elanus_query_segments', 'Sealed segments that are searched here', segmentCount)
    show('elanus_query_segments_resident', 'Of them in memory', residentCount)
    show('elanus_query_reads_waiting', 'Reads that wait for room in memory', waitingCount)
  })
  memory.push(() => sealedMemory(node))
  member.serve('query', (life) => (life === membership.life ? served : undefined))
  return {
    membership,
    drain: () =>
      untilGivenAway(
        runtime,
        drainMsMax,
        () => node.memory().segmentCount > 0,
        () => isOtherThere(member, 'query'),
      ),
    async stop() {
      await membership.leave()
      await node.stop()
    },
  }
}

function isOtherThere({ nodes, address }: Member, kind: NodeKind): boolean {
  return nodes.ofKind(kind).some((node) => !node.isDraining && node.address !== address)
}

async function openDataNode({
  config,
  events,
  stores,
  member,
  operations,
}: Assembling): Promise<Opened> {
  const node = await startDataNode(dataNodeOptions(config, stores, 'data-node'))
  member.serve('data', () => serveData(node))
  const membership = await member.join('data', config.threads, () => {})
  checkMembership(operations, 'data', membership)
  return {
    membership,
    // New jobs go elsewhere; what takes longer than a while is done again there.
    async drain() {
      const onError = (error: unknown) => events.retry('ending jobs', error)
      await within(runtime, drainMsMax, () => node.stop(), onError)
    },
    stop: () => membership.leave(),
  }
}

function dataNodeOptions(config: Config, stores: Stores, directory: string) {
  return {
    native,
    objects: stores.objects,
    runtime,
    temporaryDirectory: join(config.data, 'temporary', directory),
    threads: config.threads,
    verifyChecksums: false,
  }
}

async function openStreamingNodes(assembling: Assembling): Promise<Opened> {
  const { config, events, stores, member, operations } = assembling
  const onError = (error: unknown) => events.retry('background work is tried again', error)
  const logChannels = await waitForLogChannels(member, onError)
  const { growingBytes } = division(config)
  const memory = new WriteMemory({ runtime, hardBytes: growingBytes })
  assembling.memory.push(() => growingMemory(memory))
  const owners = followOwners({
    ...{ member, meta: stores.meta, runtime, logChannels, onError },
    refreshMs: undefined,
  })
  const dataNode = followDataNodes(
    member,
    runtime,
    await startDataNode(dataNodeOptions(config, stores, 'streaming')),
  )
  const placement = followPlacement(stores.meta, runtime, onError)
  const host = openStreamingHost({
    wal: stores.wal,
    logChannelCount: logChannels.length,
    peers: (logChannel) => owners.nodes.get(logChannel),
    coordinator: member.coordinator,
    openQueryNode: () => followQueryNodes(member, runtime, replicaCount, placement),
    dataNode,
    native,
    runtime,
    memory,
    limits: {
      segmentBytesMax: Math.min(config.sealBytes, growingBytes / 6),
      retentionMs: config.retention,
    },
    onTaken: (node) => settleDdl(member, node),
    onBackgroundError: onError,
    // It is opened anew, or another process has taken it.
    onFailure: (logChannel, error) => events.retry(`${logChannel} is opened anew`, error),
  })
  const served = new Map<string, ServedContract>(
    logChannels.map((name) => [name, serveStreaming(host.node(name))]),
  )
  member.serve('streaming', (logChannel) => served.get(logChannel))
  member.serve('streaming-host', () => serveHost(host))
  const membership = await member.join('streaming', config.memory, () => {})
  checkMembership(operations, 'streaming', membership)
  showMemory(operations, () => [growingMemory(memory)])
  showLogChannels(operations, () => host.owned().map((name) => host.node(name)))
  return {
    membership,
    /** The leader gives the log channels to others, if there are others. */
    drain: () =>
      untilGivenAway(
        runtime,
        drainMsMax,
        () => host.owned().length > 0,
        () => isOtherThere(member, 'streaming'),
      ),
    async stop() {
      await membership.leave()
      await host.stop()
      await owners.stop()
      await placement.stop()
      await dataNode.stop()
    },
  }
}

function checkMembership(operations: Operations, kind: NodeKind, membership: Membership): void {
  operations.check(`membership of the ${kind} node`, () =>
    membership.isPresent ? undefined : 'the meta store has not heard of it in time',
  )
}

/** DDL of commits whose proxy has died before the DDL log had it. */
async function settleDdl({ coordinator }: Member, node: LocalStreamingNode): Promise<void> {
  for (const { timestamp, ddl } of node.recoveredDdl) {
    const { version, entries } = decodeDdlBatch(ddl)
    await coordinator.appendDdl(version, entries, ddlAppendId(timestamp))
    await node.settleDdl(timestamp)
  }
}

async function openProxyNode(assembling: Assembling, password: string | undefined) {
  const { config, events, stores, member, operations } = assembling
  const { coordinator } = member
  const onError = (error: unknown) => events.retry('following the cluster', error)
  const logChannels = await waitForLogChannels(member, onError)
  if (password !== undefined) {
    const verifier = await makeVerifier(password, runtime.randomBytes(saltBytes))
    const stored = new TextEncoder().encode(formatVerifier(verifier))
    await coordinator.putSetting(`password/${config.user}`, stored)
  }
  const owners = followOwners({
    ...{ member, meta: stores.meta, runtime, logChannels, onError },
    refreshMs: serviceTimeMs,
  })
  const postgres = await openPostgres({
    snapshotPath,
    ddlLog: (await coordinator.ddlLog()).map(decodeDdl),
    imagePath: join(config.data, 'catalog.image'),
    evaluatorCount: config.evaluators,
  })
  const streaming = openDistributedStreaming({
    nodes: owners.nodes,
    logChannelOf: (tableId, shard) => logChannelOf(tableId, shard, logChannels.length),
    oracle: coordinator,
    runtime,
    areRemote: true,
  })
  const sessions = openOtherSessions({ ...member, onError })
  const notifier = openNotifier({ ...member, runtime, onError })
  let membership: Membership | undefined
  let catalog: CurrentCatalog | undefined
  const locks = followLocks({
    services: () =>
      member.nodes
        .ofKind('coordinator')
        .map(({ address }) => remoteLocks(member.connections.promptTo(address))),
    runtime,
    onSessionsLost: (numbers) => proxy.endSessions(numbers),
    onError,
  })
  const proxy = await openProxy({
    postgres,
    streaming,
    coordinator,
    locks,
    runtime,
    retentionMs: config.retention,
    objectsUrl: objectsUrlOf(config),
    createUnknownUsers: config.auth === 'trust',
    onStatement: operations.onStatement,
    others: {
      takeDdlTurn: (context) => takeDdlTurn(stores.meta, runtime, member.address, context),
      tellCatalog: (version, context) =>
        tellCatalog({ ...member, meta: stores.meta, runtime, onError }, version, context),
      isCatalogCurrent: () => catalog?.isCurrent() === true,
      refreshCatalog: async () => await catalog?.refresh(),
      notify: (processId, channel, payload) => notifier.notify({ processId, channel, payload }),
      sessions: sessions.sessions,
      signal: sessions.signal,
    },
    facts: gatherFacts(member, owners, replicaCount),
  })
  const following = followCatalog(proxy, () => membership)
  catalog = following
  const watching = startWatchingKey({
    meta: stores.meta,
    runtime,
    prefix: metaKeys.ddlPrefix,
    lookMs: catalogLookMs,
    look: () => following.refresh(),
    onError,
  })
  const served = serveProxy(proxy)
  member.serve('proxy', () => served)
  const joined = await member.join('proxy', 1, () => {})
  membership = joined
  await following.refresh()
  checkMembership(operations, 'proxy', joined)
  operations.check(
    'coordinator',
    async () => void (await coordinator.getSetting(logChannelsSetting)),
  )
  operations.check('log channels', () => {
    const missing = logChannels.filter((name) => !owners.isKnown(name))
    return missing.length === 0 ? undefined : `nobody is known to own ${missing.join(', ')}`
  })
  const proxyNumber = await coordinator.leaseCounter('proxy-numbers', 1, 1)
  const listeners = await listen(config, proxy, operations, events, {
    processIds: { above: processIdsAbove(proxyNumber), count: processIdCount },
    cancelElsewhere: sessions.cancelByKey,
  })
  const servedSessions = serveSessions(proxy, listeners.cancelByKey)
  member.serve('sessions', () => servedSessions)
  return {
    listeners,
    membership: joined,
    async stop() {
      // Nobody is let in any more; transactions may end.
      await listeners.stop()
      await joined.leave()
      await watching.stop()
      await notifier.stop()
      await proxy.stop()
      await locks.stop()
      await streaming.stop()
      await owners.stop()
      await postgres.close()
    },
  }
}

/** Fixed by the first leader of the database. */
async function waitForLogChannels(
  { coordinator }: Member,
  onError: (error: unknown) => void,
): Promise<readonly string[]> {
  let toldMs = Number.NEGATIVE_INFINITY
  for (;;) {
    // A cluster whose coordinators are not there yet.
    const stored = await coordinator.getSetting(logChannelsSetting).catch((error: unknown) => {
      if (runtime.monotonicMs() < toldMs + tellEveryMs) return undefined
      toldMs = runtime.monotonicMs()
      onError(error)
      return undefined
    })
    if (stored !== undefined) return namesOf(Number(new TextDecoder().decode(stored)))
    await runtime.sleep(100)
  }
}

function namesOf(logChannelCount: number): readonly string[] {
  return Array.from({ length: logChannelCount }, (_, i) => `log-${i}`)
}

function division(config: Config) {
  const count = config.node?.includes('proxy') === true ? postgresCount(config.evaluators) : 0
  return divideMemory(config.memory, count)
}
