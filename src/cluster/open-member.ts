/**
 * What every process of a cluster has, whichever nodes it runs: the meta store, connections to the others, the nodes there are, a
 * coordinator that is whoever leads, and a server for what it serves itself.
 */
import type { Runtime } from '#base/runtime.js'
import { type Connections, openConnections } from '#cluster/connections.js'
import { type KnownNodes, openKnownNodes } from '#cluster/known-nodes.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type { MadeCall } from '#net/rpc/rpc-client.js'
import { openRpcServer, type RpcServer, type RpcTls, type ServedCall } from '#net/rpc/rpc-server.js'
import type { ClusterNode, Coordinator } from '#nodes/coordinator/contract.js'
import { followLeader } from '#nodes/coordinator/follow-leader.js'
import { joinCluster, type Membership } from '#nodes/coordinator/membership.js'
import { remoteCoordinator } from '#nodes/coordinator/remote.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface MemberOptions {
  readonly meta: MetaStore
  readonly runtime: Runtime
  /** host:port at which the others reach this process. */
  readonly address: string
  readonly rpcHost: string
  readonly rpcPort: number
  readonly tls: RpcTls | undefined
  readonly onError: (what: string, error: unknown) => void
  readonly onCall?: ((call: ServedCall) => void) | undefined
  readonly onMadeCall?: ((call: MadeCall) => void) | undefined
}

export interface Member {
  readonly nodes: KnownNodes
  readonly connections: Connections
  /** Whoever leads. */
  readonly coordinator: Coordinator
  readonly address: string
  serve(contract: string, find: (object: string) => ServedContract | undefined): void
  /** Waits for the lease of a life before, if it must. */
  join(kind: ClusterNode['kind'], capacity: number, onLost: () => void): Promise<Membership>
  /** After everything that others may call has been stopped. */
  close(): Promise<void>
}

const joinAgainMs = 500
const joinPatienceMs = 15_000
const rpcDeadlineMs = 2000

export async function openMember(options: MemberOptions): Promise<Member> {
  const { meta, runtime, address, tls, onError } = options
  const served = new Map<string, (object: string) => ServedContract | undefined>()
  const server: RpcServer = await openRpcServer({
    host: options.rpcHost,
    port: options.rpcPort,
    tls,
    runtime,
    onCall: options.onCall,
    find: (contract, object) => served.get(contract)?.(object),
  })
  const connections = openConnections(runtime, tls, options.onMadeCall)
  const nodes = await openKnownNodes(meta, runtime, (error) => onError('watching nodes', error))
  const coordinators: Coordinator[] = []
  nodes.onChange(() => {
    const present = nodes.ofKind('coordinator')
    // In place: who follows the leader looks at each attempt. Nobody known: who was known before may come back.
    if (present.length === 0) return
    const found = present.map((node) => remoteCoordinator(connections.promptTo(node.address)))
    coordinators.splice(0, coordinators.length, ...found)
  })
  return {
    nodes,
    connections,
    coordinator: followLeader({ coordinators, runtime }),
    address,
    serve: (contract, find) => void served.set(contract, find),
    async join(kind, capacity, onLost) {
      const deadlineMs = runtime.monotonicMs() + joinPatienceMs
      for (;;) {
        try {
          const node = { kind, id: address, address, capacity, isDraining: false }
          return await joinCluster({
            meta,
            runtime,
            node,
            onLost,
            onError: (error) => onError(`membership of the ${kind} node`, error),
          })
        } catch (error) {
          if (runtime.monotonicMs() >= deadlineMs) throw error
          await runtime.sleep(joinAgainMs)
        }
      }
    },
    async close() {
      await nodes.stop()
      await server.stop(rpcDeadlineMs)
      connections.close()
    },
  }
}
