/** A coordinator in another process. Whether it leads follow-leader.ts finds out. */
import { backgroundContext } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { RpcClient } from '#net/rpc/rpc-client.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'

const target = { contract: 'coordinator', object: '' }

export function remoteCoordinator(client: RpcClient): Coordinator {
  const call = async <T>(method: string, ...args: readonly unknown[]): Promise<T> =>
    (await client.call(target, method, args, backgroundContext)) as T
  return {
    timestamp: (above) => call<Timestamp>('timestamp', above),
    timestampNow: () => undefined,
    ddlLog: () => call('ddlLog'),
    appendDdl: (version, entries, id) => call('appendDdl', version, entries, id),
    allocateSegmentIds: (count) => call('allocateSegmentIds', count),
    leaseCounter: (name, count, floor) => call('leaseCounter', name, count, floor),
    segments: () => call('segments'),
    checkpoints: () => call('checkpoints'),
    switchSegments: (change) => call('switchSegments', change),
    getSetting: (key) => call('getSetting', key),
    putSetting: (key, value, by) => call('putSetting', key, value, by),
    exchangeSetting: (key, found, value) => call('exchangeSetting', key, found, value),
    listSettings: (prefix) => call('listSettings', prefix),
    logChannelOwner: (name) => call('logChannelOwner', name),
    setLogChannelOwner: (name, found, next) => call('setLogChannelOwner', name, found, next),
    secure: () => call('secure'),
    nodes: () => call('nodes'),
    // It goes on: it is not ours.
    stop: async () => {},
  }
}
