/**
 * Several coordinators behind the contract of one: asks the one that led last, turns to the next when it does not lead or does
 * not answer, and goes on until one does.
 *
 * Every method may be repeated, so an unclear answer is met by asking again: reads and timestamps as they are; ids and counters
 * may be wasted; an append to the DDL log finds itself by its id; changes by the owner of a log channel by their step; a
 * replaced owner by reading what stands.
 */
import { DatabaseError, SqlState, StoreError, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'

export interface FollowLeaderOptions {
  /** At least one. */
  readonly coordinators: readonly Coordinator[]
  readonly runtime: Runtime
  /** How long it goes on asking. */
  readonly patienceMs?: number | undefined
}

const patienceMsDefault = 10_000
/** After nobody led: an election takes some time. */
const pauseMsFirst = 5
const pauseMsMax = 200
const appendIdBytes = 16

export function followLeader(options: FollowLeaderOptions): Coordinator {
  const { coordinators, runtime } = options
  const patienceMs = options.patienceMs ?? patienceMsDefault
  let next = 0

  /** @param attempt is told whether an earlier attempt may have happened */
  async function ask<T>(
    attempt: (coordinator: Coordinator, isUnclear: boolean) => Promise<T>,
  ): Promise<T> {
    const deadlineMs = runtime.monotonicMs() + patienceMs
    let isUnclear = false
    let pauseMs = pauseMsFirst
    for (let asked = 1; ; asked += 1) {
      const at = next
      const coordinator = coordinators[at % coordinators.length]
      if (coordinator === undefined) throw noCoordinator(isUnclear, undefined)
      try {
        return await attempt(coordinator, isUnclear)
      } catch (error) {
        if (!isWorthAnother(error)) throw error
        isUnclear ||= mayHaveHappened(error)
        if (runtime.monotonicMs() >= deadlineMs) throw noCoordinator(isUnclear, error)
        // Others may have turned already.
        if (next === at) next = (at + 1) % coordinators.length
        if (asked % coordinators.length !== 0) continue
        await runtime.sleep(pauseMs * (0.5 + runtime.random()))
        pauseMs = Math.min(pauseMs * 2, pauseMsMax)
      }
    }
  }

  return {
    timestamp: (above) => ask((coordinator) => coordinator.timestamp(above)),
    timestampNow: () => undefined,
    ddlLog: () => ask((coordinator) => coordinator.ddlLog()),
    appendDdl(expectedVersion, entries, appendId) {
      const id = appendId ?? Buffer.from(runtime.randomBytes(appendIdBytes)).toString('hex')
      return ask((coordinator) => coordinator.appendDdl(expectedVersion, entries, id))
    },
    allocateSegmentIds: (count) => ask((coordinator) => coordinator.allocateSegmentIds(count)),
    leaseCounter: (name, count, floor) =>
      ask((coordinator) => coordinator.leaseCounter(name, count, floor)),
    segments: () => ask((coordinator) => coordinator.segments()),
    checkpoints: () => ask((coordinator) => coordinator.checkpoints()),
    switchSegments: (change) => ask((coordinator) => coordinator.switchSegments(change)),
    getSetting: (key) => ask((coordinator) => coordinator.getSetting(key)),
    putSetting: (key, value, by) => ask((coordinator) => coordinator.putSetting(key, value, by)),
    exchangeSetting: (key, found, value) =>
      ask((coordinator) => coordinator.exchangeSetting(key, found, value)),
    listSettings: (prefix) => ask((coordinator) => coordinator.listSettings(prefix)),
    logChannelOwner: (name) => ask((coordinator) => coordinator.logChannelOwner(name)),
    setLogChannelOwner: (name, found, wanted) =>
      ask(async (coordinator, isUnclear) => {
        if (await coordinator.setLogChannelOwner(name, found, wanted)) return true
        if (!isUnclear) return false
        const present = await coordinator.logChannelOwner(name)
        return present?.term === wanted.term && present.servesBefore === wanted.servesBefore
      }),
    secure: () => ask((coordinator) => coordinator.secure()),
    nodes: () => ask((coordinator) => coordinator.nodes()),
    // Coordinators are stopped by whoever started them.
    async stop() {},
  }
}

/** It did not lead, did not answer, or its store did not. */
function isWorthAnother(error: unknown): boolean {
  if (error instanceof UnreachableError || error instanceof StoreError) return true
  if (!(error instanceof DatabaseError)) return false
  const { sqlState } = error
  return (
    sqlState === SqlState.adminShutdown ||
    sqlState === SqlState.connectionFailure ||
    (sqlState === SqlState.cannotConnectNow && !isOfOwner(error))
  )
}

/** 57P03 of the owner of a log channel, not of a coordinator: nobody else would say otherwise. */
function isOfOwner({ message }: DatabaseError): boolean {
  return message.includes('owner of log channel')
}

function mayHaveHappened(error: unknown): boolean {
  if (error instanceof UnreachableError || error instanceof StoreError) {
    return error.outcome === 'indeterminate'
  }
  return false
}

function noCoordinator(isUnclear: boolean, cause: unknown): Error {
  const message = 'no coordinator answers as the leader'
  if (isUnclear) return new StoreError('indeterminate', message, cause, 'unreachable')
  const hint = 'Another one takes over within seconds, unless none is left: try again.'
  return new DatabaseError(SqlState.cannotConnectNow, message, { hint, cause })
}
