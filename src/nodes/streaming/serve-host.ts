/** What the leading coordinator orders of a process with streaming nodes; both sides. */
import { backgroundContext } from '#base/context.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { callLong, serveLong } from '#net/rpc/long-call.js'
import type { RpcClient } from '#net/rpc/rpc-client.js'
import type { LogChannelHolder } from '#nodes/streaming/contract.js'
import type { StreamingHost } from '#nodes/streaming/host.js'

const target = { contract: 'streaming-host', object: '' }

export function serveHost(host: StreamingHost): ServedContract {
  return {
    owned: async () => host.owned(),
    take: ([logChannel]) => serveLong(() => host.take(logChannel as string)),
    give: ([logChannel]) => serveLong(() => host.give(logChannel as string, 'flush')),
  }
}

export function remoteHost(client: RpcClient, prompt: RpcClient): LogChannelHolder {
  return {
    owned: async () => (await prompt.call(target, 'owned', [], backgroundContext)) as string[],
    take: async (logChannel) =>
      void (await callLong(client, target, 'take', [logChannel], backgroundContext)),
    give: async (logChannel) =>
      void (await callLong(client, target, 'give', [logChannel], backgroundContext)),
  }
}
