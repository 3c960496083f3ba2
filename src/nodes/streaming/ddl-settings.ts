/**
 * DDL of commits that the coordinator's DDL log is not known to have. It is in the log; before the log forgets it, it is
 * kept in the meta store under `streaming/ddl/<timestamp>`.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { StreamingState } from '#nodes/streaming/state.js'

const prefix = 'streaming/ddl/'

export interface RecoveredDdl {
  readonly timestamp: Timestamp
  readonly ddl: Uint8Array
}

export async function loadDdl(coordinator: Coordinator): Promise<readonly RecoveredDdl[]> {
  const settings = await coordinator.listSettings(prefix)
  return settings.map(({ key, value }) => ({
    timestamp: Number(key.slice(prefix.length)) as Timestamp,
    ddl: value,
  }))
}

/** Keeps what lies below the position. */
export async function saveDdl(state: StreamingState, before: number): Promise<void> {
  for (const [timestamp, { position, ddl }] of state.unsettledDdl) {
    if (position >= before) continue
    await state.coordinator.putSetting(`${prefix}${timestamp}`, ddl)
    state.unsettledDdl.set(timestamp, { position: Number.POSITIVE_INFINITY, ddl })
  }
}

/** The coordinator's DDL log has it. */
export async function settleDdl(state: StreamingState, timestamp: Timestamp): Promise<void> {
  const known = state.unsettledDdl.get(timestamp)
  if (known === undefined) return
  state.unsettledDdl.delete(timestamp)
  if (known.position === Number.POSITIVE_INFINITY) {
    await state.coordinator.putSetting(`${prefix}${timestamp}`, undefined)
  }
}
