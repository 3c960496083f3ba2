/** The streaming nodes of a process of a cluster: one for each log channel that it is given. */
import {
  type Assembling,
  checkMembership,
  dataNodeOptions,
  division,
  drain,
  type Opened,
  replicaCount,
  waitForLogChannels,
} from '#assemble/assembling.js'
import { growingMemory } from '#assemble.js'
import { systemRuntime } from '#base/system-runtime.js'
import { followOwners } from '#cluster/follow-owners.js'
import { followPlacement } from '#cluster/follow-placement.js'
import { followDataNodes, followQueryNodes } from '#cluster/follow-workers.js'
import type { Member } from '#cluster/open-member.js'
import { native } from '#engine/index/native.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { ddlAppendId, decodeDdlBatch } from '#nodes/proxy/session/commit.js'
import { openStreamingHost } from '#nodes/streaming/host.js'
import type { LocalStreamingNode } from '#nodes/streaming/node.js'
import { serveStreaming } from '#nodes/streaming/serve.js'
import { serveHost } from '#nodes/streaming/serve-host.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'
import { showLogChannels, showMemory } from '#operations.js'

const runtime = systemRuntime
export async function openStreamingNodes(assembling: Assembling): Promise<Opened> {
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
    drain: () => drain(member, 'streaming', () => host.owned().length > 0),
    async stop() {
      await membership.leave()
      await host.stop()
      await owners.stop()
      await placement.stop()
      await dataNode.stop()
    },
  }
}

/** DDL of commits whose proxy has died before the DDL log had it. */
async function settleDdl({ coordinator }: Member, node: LocalStreamingNode): Promise<void> {
  for (const { timestamp, ddl } of node.recoveredDdl) {
    const { version, entries } = decodeDdlBatch(ddl)
    await coordinator.appendDdl(version, entries, ddlAppendId(timestamp))
    await node.settleDdl(timestamp)
  }
}
