/** A proxy of a cluster: sessions on its port, over streaming nodes elsewhere. */
import { join } from 'node:path'
import {
  type Assembling,
  checkMembership,
  replicaCount,
  waitForLogChannels,
} from '#assemble/assembling.js'
import { listen, putPassword, snapshotPath } from '#assemble.js'
import { systemRuntime } from '#base/system-runtime.js'
import {
  type CurrentCatalog,
  followCatalog,
  serveProxy,
  tellCatalog,
} from '#cluster/current-catalog.js'
import { takeDdlTurn } from '#cluster/ddl-turn.js'
import { type FollowedOwners, followOwners } from '#cluster/follow-owners.js'
import { openNotifier } from '#cluster/notify-proxies.js'
import {
  openOtherSessions,
  processIdCount,
  processIdsAbove,
  serveSessions,
} from '#cluster/other-sessions.js'
import { gatherFacts } from '#cluster/process-facts.js'
import { startWatchingKey } from '#cluster/watch-key.js'
import type { Membership } from '#nodes/coordinator/membership.js'
import { logChannelsSetting, metaKeys } from '#nodes/coordinator/meta-keys.js'
import { followLocks } from '#nodes/locks/follow-locks.js'
import { remoteLocks } from '#nodes/locks/remote.js'
import { openDistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import { openProxy } from '#nodes/proxy/proxy.js'
import { decodeDdl } from '#nodes/proxy/session/commit.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import { objectsUrlOf } from '#open-stores.js'
import type { Postgres } from '#postgres/contract.js'
import { openPostgres } from '#postgres/open.js'

const runtime = systemRuntime
/** How old a proxy's idea of what is readable may be, for reads that may be old. */
const serviceTimeMs = 250
const catalogLookMs = 2000

export async function openProxyNode(assembling: Assembling, password: string | undefined) {
  const { config, events, stores, member, operations } = assembling
  const { coordinator } = member
  const onError = (error: unknown) => events.retry('following the cluster', error)
  const logChannels = await waitForLogChannels(member, onError)
  if (password !== undefined) await putPassword(coordinator, config.user, password)
  const owners = followOwners({
    ...{ member, meta: stores.meta, runtime, logChannels, onError },
    refreshMs: serviceTimeMs,
  })
  const postgres = await openCatalog(assembling)
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
  checkCluster(assembling, logChannels, owners)
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

/** PostgreSQL with all DDL of the database. */
async function openCatalog({ config, member }: Assembling): Promise<Postgres> {
  return await openPostgres({
    snapshotPath,
    ddlLog: (await member.coordinator.ddlLog()).map(decodeDdl),
    imagePath: join(config.data, 'catalog.image'),
    evaluatorCount: config.evaluators,
  })
}

/** What a proxy cannot do without: /readyz. */
function checkCluster(
  { operations, member }: Assembling,
  logChannels: readonly string[],
  owners: Pick<FollowedOwners, 'isKnown'>,
): void {
  operations.check(
    'coordinator',
    async () => void (await member.coordinator.getSetting(logChannelsSetting)),
  )
  operations.check('log channels', () => {
    const missing = logChannels.filter((name) => !owners.isKnown(name))
    return missing.length === 0 ? undefined : `nobody is known to own ${missing.join(', ')}`
  })
}
