/**
 * The coordinator as the owner of a log channel sees it: its changes carry its term and rising steps, so that one that arrives
 * after the owner was deposed, twice or late does nothing.
 */
import { Mutex } from '#base/async/mutex.js'
import type { Coordinator, OwnerStep } from '#nodes/coordinator/contract.js'

export function ownedCoordinator(
  coordinator: Coordinator,
  logChannel: string,
  term: number,
  /** Something was refused: perhaps because of another owner. */
  onRefused: () => void,
): Coordinator {
  let step = 0
  // Steps arrive in order: a later one shuts out those before.
  const mutex = new Mutex()

  function inOrder(change: (by: OwnerStep) => Promise<void>): Promise<void> {
    return mutex.run(async () => {
      step += 1
      try {
        await change({ logChannel, term, step })
      } catch (error) {
        onRefused()
        throw error
      }
    })
  }

  return {
    timestamp: (above) => coordinator.timestamp(above),
    timestampNow: () => coordinator.timestampNow(),
    ddlLog: () => coordinator.ddlLog(),
    appendDdl: (expectedVersion, entries, appendId) =>
      coordinator.appendDdl(expectedVersion, entries, appendId),
    allocateSegmentIds: (count) => coordinator.allocateSegmentIds(count),
    leaseCounter: (name, count, floor) => coordinator.leaseCounter(name, count, floor),
    segments: () => coordinator.segments(),
    checkpoints: () => coordinator.checkpoints(),
    getSetting: (key) => coordinator.getSetting(key),
    exchangeSetting: (key, found, value) => coordinator.exchangeSetting(key, found, value),
    listSettings: (prefix) => coordinator.listSettings(prefix),
    logChannelOwner: (name) => coordinator.logChannelOwner(name),
    setLogChannelOwner: (name, found, next) => coordinator.setLogChannelOwner(name, found, next),
    secure: () => coordinator.secure(),
    nodes: () => coordinator.nodes(),
    stop: () => coordinator.stop(),
    switchSegments: (change) => inOrder((by) => coordinator.switchSegments({ ...change, by })),
    putSetting: (key, value) => inOrder((by) => coordinator.putSetting(key, value, by)),
  }
}
