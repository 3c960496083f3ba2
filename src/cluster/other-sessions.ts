/**
 * Sessions of the other proxies: pg_stat_activity shows them, pg_cancel_backend and pg_terminate_backend reach them, and so does a
 * cancel request that a load balancer brings to the wrong proxy. Process ids are unique in the cluster; whose they are is not
 * kept: every proxy is asked, and does nothing when it has no such process.
 */
import { backgroundContext } from '#base/context.js'
import { DatabaseError, SqlState, UnreachableError } from '#base/errors.js'
import type { Connections } from '#cluster/connections.js'
import type { KnownNodes } from '#cluster/known-nodes.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type { OtherProxies, ProxyNode, SessionFact } from '#nodes/proxy/contract.js'

const target = { contract: 'sessions', object: '' }

/** Of a proxy's processes, which begin above that. */
export const processIdCount = 2 ** 20
const proxyNumberCount = 2 ** 11

/** @param proxyNumber 1, 2, 3, …: with each proxy that starts; two that live are less than 2,047 apart */
export function processIdsAbove(proxyNumber: number): number {
  return (proxyNumber % proxyNumberCount) * processIdCount
}

export type CancelByKey = (processId: number, secretKey: Uint8Array) => void

export function serveSessions(
  proxy: Pick<ProxyNode, 'sessions' | 'signal'>,
  cancelByKey: CancelByKey,
): ServedContract {
  return {
    sessions: async () => proxy.sessions(),
    signal: async ([processId, signal]) =>
      proxy.signal(processId as number, signal as 'cancel' | 'terminate'),
    cancelByKey: async ([processId, secretKey]) =>
      cancelByKey(processId as number, secretKey as Uint8Array),
  }
}

export interface OtherSessions extends Pick<OtherProxies, 'sessions' | 'signal'> {
  readonly cancelByKey: CancelByKey
}

export function openOtherSessions(options: {
  readonly nodes: KnownNodes
  readonly connections: Connections
  readonly address: string
  readonly onError: (error: unknown) => void
}): OtherSessions {
  const { nodes, connections, address, onError } = options

  async function tell(method: string, ...args: readonly unknown[]): Promise<readonly unknown[]> {
    const others = nodes.ofKind('proxy').filter((node) => node.address !== address)
    return await Promise.all(
      others.map(async (node) => {
        try {
          const client = connections.promptTo(node.address)
          return await client.call(target, method, args, backgroundContext)
        } catch (error) {
          // It is going, or has just come.
          if (!isAway(error)) onError(error)
          return undefined
        }
      }),
    )
  }

  return {
    async sessions() {
      return (await tell('sessions')).flatMap((facts) => (facts ?? []) as readonly SessionFact[])
    },
    signal: (processId, signal) => void tell('signal', processId, signal),
    cancelByKey: (processId, secretKey) => void tell('cancelByKey', processId, secretKey),
  }
}

function isAway(error: unknown): boolean {
  if (error instanceof UnreachableError) return true
  return error instanceof DatabaseError && error.sqlState === SqlState.cannotConnectNow
}
