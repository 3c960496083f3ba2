/**
 * DDL of commits that the coordinator's DDL log is not known to have. It is in the log; before the log forgets it, it is
 * kept in the meta store under `streaming/ddl/<timestamp>`; that of other log channels than the first under
 * `streaming/ddl/<log channel>/<timestamp>`.
 */
import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import { ddlTurnCounter, type RecoveredDdl } from '#nodes/streaming/contract.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'

const prefix = 'streaming/ddl/'

function prefixOf(logChannel: string): string {
  return logChannel === 'log-0' ? prefix : `${prefix}${logChannel}/`
}

/** For an owner, before it reads the log: what the one before took from it is kept by now, or never will be. */
export async function recallDdl(state: StreamingState): Promise<void> {
  const { coordinator } = state
  const own = prefixOf(state.logChannel)
  for (const { key, value } of await coordinator.listSettings(own)) {
    const name = key.slice(own.length)
    if (name.includes('/')) continue
    const timestamp = Number(name) as Timestamp
    state.unsettledDdl.set(timestamp, { position: Number.POSITIVE_INFINITY, ddl: value })
  }
  state.ddlTurn = (await coordinator.leaseCounter(ddlTurnCounter, 0, 1)) - 1
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
