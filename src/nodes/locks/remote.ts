/** The lock service of another process, if it keeps the locks: follow-locks.ts finds out. */
import { backgroundContext } from '#base/context.js'
import { callLong } from '#net/rpc/long-call.js'
import type { RpcClient } from '#net/rpc/rpc-client.js'
import type { LockAnswer, LockFact, LockLease, LockService } from '#nodes/locks/contract.js'

const target = { contract: 'locks', object: '' }

export function remoteLocks(client: RpcClient): LockService {
  const call = async <T>(method: string, ...args: readonly unknown[]): Promise<T> =>
    (await client.call(target, method, args, backgroundContext)) as T
  return {
    attempt: async (request, context) =>
      (await client.call(target, 'attempt', [request], context)) as LockAnswer,
    wait: async (request, context) =>
      (await callLong(client, target, 'wait', [request], context)) as LockAnswer,
    taken: (request) => call<Float64Array>('taken', request),
    release: (request) => call<boolean>('release', request),
    renew: (proxy) => call<LockLease | undefined>('renew', proxy),
    list: (limit) => call<readonly LockFact[]>('list', limit),
  }
}
