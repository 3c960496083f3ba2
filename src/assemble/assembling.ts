/** What the nodes of a process have in common. */
import { join } from 'node:path'
import type { StandaloneEvents } from '#assemble.js'
import { divideMemory } from '#base/memory-division.js'
import type { MemoryPart } from '#base/memory-parts.js'
import { systemRuntime } from '#base/system-runtime.js'
import { untilGivenAway } from '#cluster/leave.js'
import type { Member } from '#cluster/open-member.js'
import { type Config, type NodeKind, postgresCount } from '#config.js'
import { native } from '#engine/index/native.js'
import type { Membership } from '#nodes/coordinator/membership.js'
import { logChannelsSetting } from '#nodes/coordinator/meta-keys.js'
import type { Stores } from '#open-stores.js'
import type { Operations } from '#operations.js'

const runtime = systemRuntime
/** Nodes that hold each sealed segment, where there are so many. */
export const replicaCount = 2
/** What is held goes to others: log channels, segments, jobs under way. */
export const drainMsMax = 15_000
/** What is waited for at the start is told no more often. */
const tellEveryMs = 5000

/** What the nodes of a process are made of. */
export interface Assembling {
  readonly config: Config
  readonly events: StandaloneEvents
  readonly stores: Stores
  readonly member: Member
  readonly operations: Operations
  /** What the nodes of this process take of it. */
  readonly memory: (() => MemoryPart)[]
}

/** A node of this process, in service. */
export interface Opened {
  readonly membership: Membership
  /** After all have heard that it leaves, and while they still find it: resolves when it holds nothing. */
  readonly drain?: () => Promise<void>
  /** Ends it; then it leaves. */
  readonly stop: () => Promise<void>
}

export function checkMembership(
  operations: Operations,
  kind: NodeKind,
  membership: Membership,
): void {
  operations.check(`membership of the ${kind} node`, () =>
    membership.isPresent ? undefined : 'the meta store has not heard of it in time',
  )
}

/** Resolves when nothing is held here any more, or nobody else of the kind is there to take it, or it takes too long. */
export function drain(
  { nodes, address }: Member,
  kind: NodeKind,
  holds: () => boolean,
): Promise<void> {
  const isOtherThere = () =>
    nodes.ofKind(kind).some((node) => !node.isDraining && node.address !== address)
  return untilGivenAway(runtime, drainMsMax, holds, isOtherThere)
}

export function dataNodeOptions(config: Config, stores: Stores, directory: string) {
  return {
    native,
    objects: stores.objects,
    runtime,
    temporaryDirectory: join(config.data, 'temporary', directory),
    threads: config.threads,
    verifyChecksums: false,
  }
}

/** Fixed by the first leader of the database. */
export async function waitForLogChannels(
  { coordinator }: Member,
  onError: (error: unknown) => void,
): Promise<readonly string[]> {
  let toldMs = Number.NEGATIVE_INFINITY
  for (;;) {
    // A cluster whose coordinators are not there yet.
    const stored = await coordinator.getSetting(logChannelsSetting).catch((error: unknown) => {
      if (runtime.monotonicMs() < toldMs + tellEveryMs) return undefined
      toldMs = runtime.monotonicMs()
      onError(error)
      return undefined
    })
    if (stored !== undefined) return namesOf(Number(new TextDecoder().decode(stored)))
    await runtime.sleep(100)
  }
}

/** Of all log channels of the database. */
export function namesOf(logChannelCount: number): readonly string[] {
  return Array.from({ length: logChannelCount }, (_, i) => `log-${i}`)
}

/** What each part of memory has in a process of these kinds of nodes. */
export function division(config: Config) {
  const count = config.node?.includes('proxy') === true ? postgresCount(config.evaluators) : 0
  return divideMemory(config.memory, count)
}
