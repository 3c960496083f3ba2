/**
 * DDL of commits that the coordinator's DDL log is not known to have. It is in the log; before the log forgets it, it is
 * kept in the meta store under `streaming/ddl/<timestamp>`; that of other log channels than the first under
 * `streaming/ddl/<log channel>/<timestamp>`.
 */
import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { RecoveredDdl } from '#nodes/streaming/contract.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'

const prefix = 'streaming/ddl/'

function prefixOf(logChannel: string): string {
  return logChannel === 'log-0' ? prefix : `${prefix}${logChannel}/`
}

export async function loadDdl(
  coordinator: Coordinator,
  logChannel: string,
): Promise<readonly RecoveredDdl[]> {
  const own = prefixOf(logChannel)
  const settings = await coordinator.listSettings(own)
  return settings
    .filter(({ key }) => !key.slice(own.length).includes('/'))
    .map(({ key, value }) => ({
      timestamp: Number(key.slice(own.length)) as Timestamp,
      ddl: value,
    }))
}

/** Keeps what lies below the position. */
export async function saveDdl(state: StreamingState, before: number): Promise<void> {
  for (const [timestamp, { position, ddl }] of state.unsettledDdl) {
    if (position >= before) continue
    await state.coordinator.putSetting(`${prefixOf(state.logChannel)}${timestamp}`, ddl)
    state.unsettledDdl.set(timestamp, { position: Number.POSITIVE_INFINITY, ddl })
  }
}

/** By time. */
export function recoveredDdl(state: StreamingState): readonly RecoveredDdl[] {
  return [...state.unsettledDdl]
    .map(([timestamp, { ddl }]) => ({ timestamp, ddl }))
    .sort((a, b) => a.timestamp - b.timestamp)
}

/** Of all commits that are ever durable here in turns before. @throws 57P03 when another owner may know of more */
export async function findUnsettledDdl(
  state: StreamingState,
  turn: number,
  context: Context,
): Promise<readonly RecoveredDdl[]> {
  state.ddlTurn = Math.max(state.ddlTurn, turn)
  await state.ownership.waitToServe(await state.coordinator.timestamp(), context)
  await state.commits.drained()
  checkUsable(state)
  return recoveredDdl(state)
}

/** The coordinator's DDL log has it. */
export async function settleDdl(state: StreamingState, timestamp: Timestamp): Promise<void> {
  const known = state.unsettledDdl.get(timestamp)
  if (known === undefined) return
  state.unsettledDdl.delete(timestamp)
  if (known.position === Number.POSITIVE_INFINITY) {
    await state.coordinator.putSetting(`${prefixOf(state.logChannel)}${timestamp}`, undefined)
  }
}
