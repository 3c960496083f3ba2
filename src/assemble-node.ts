/**
 * A process of a cluster: the nodes that --node names, over the stores that all processes share. Everything between nodes goes
 * over the network, also when both are in this process: there is one way.
 *
 * Who is there: leases in the meta store (membership.ts). Who owns which log channel: the leading coordinator
 * (place-log-channels.ts). Which query nodes hold a segment: the owner of its log channel (placed-query-nodes.ts).
 */
import { readFileSync } from 'node:fs'
import type { Opened } from '#assemble/assembling.js'
import { openCoordinatorNode } from '#assemble/coordinator-node.js'
import { openDataNode } from '#assemble/data-node.js'
import { openProxyNode } from '#assemble/proxy-node.js'
import { openQueryNode } from '#assemble/query-node.js'
import { openStreamingNodes } from '#assemble/streaming-nodes.js'
import {
  type listen,
  processMemory,
  programVersion,
  type Standalone,
  type StandaloneEvents,
} from '#assemble.js'
import type { MemoryPart } from '#base/memory-parts.js'
import { systemRuntime } from '#base/system-runtime.js'
import { within } from '#cluster/leave.js'
import { openMember } from '#cluster/open-member.js'
import { serveFacts } from '#cluster/process-facts.js'
import { advertised, type Config, type NodeKind } from '#config.js'
import type { RpcTls } from '#net/rpc/rpc-server.js'
import { openStores } from '#open-stores.js'
import type { Operations } from '#operations.js'

const runtime = systemRuntime
/** One step of stopping; a proxy's grace for transactions is in it. */
const stopMsMax = 20_000
const announceMsMax = 2000

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
