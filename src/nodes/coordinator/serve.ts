/** A coordinator as other processes call it; remote.ts is the other side. */
import type { Timestamp } from '#base/timestamp.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type {
  Coordinator,
  LogChannelOwner,
  OwnerStep,
  SegmentChange,
} from '#nodes/coordinator/contract.js'

export function serveCoordinator(coordinator: Coordinator): ServedContract {
  return {
    timestamp: ([above]) => coordinator.timestamp(above as Timestamp | undefined),
    ddlLog: () => coordinator.ddlLog(),
    appendDdl: ([version, entries, id]) =>
      coordinator.appendDdl(version as number, entries as Uint8Array[], id as string | undefined),
    allocateSegmentIds: ([count]) => coordinator.allocateSegmentIds(count as number),
    leaseCounter: ([name, count, floor]) =>
      coordinator.leaseCounter(name as string, count as number, floor as number),
    segments: () => coordinator.segments(),
    checkpoints: () => coordinator.checkpoints(),
    switchSegments: ([change]) => coordinator.switchSegments(change as SegmentChange),
    getSetting: ([key]) => coordinator.getSetting(key as string),
    exchangeSetting: ([key, found, value]) =>
      coordinator.exchangeSetting(
        key as string,
        found as Uint8Array | undefined,
        value as Uint8Array,
      ),
    putSetting: ([key, value, by]) =>
      coordinator.putSetting(
        key as string,
        value as Uint8Array | undefined,
        by as OwnerStep | undefined,
      ),
    listSettings: ([prefix]) => coordinator.listSettings(prefix as string),
    logChannelOwner: ([name]) => coordinator.logChannelOwner(name as string),
    setLogChannelOwner: ([name, found, next]) =>
      coordinator.setLogChannelOwner(
        name as string,
        found as LogChannelOwner | undefined,
        next as LogChannelOwner,
      ),
    secure: () => coordinator.secure(),
    nodes: () => coordinator.nodes(),
  }
}
