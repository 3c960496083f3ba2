/** A coordinator of a cluster: stands for leader; what it does while it leads. */
import {
  type Assembling,
  checkMembership,
  namesOf,
  type Opened,
  replicaCount,
} from '#assemble/assembling.js'
import { fixLogChannelCount } from '#assemble.js'
import { systemRuntime } from '#base/system-runtime.js'
import { followReplicaCounts } from '#cluster/follow-replica-counts.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { startCandidate } from '#nodes/coordinator/leader.js'
import { placeLogChannels } from '#nodes/coordinator/place-log-channels.js'
import { placeSegments } from '#nodes/coordinator/place-segments.js'
import { serveCoordinator } from '#nodes/coordinator/serve.js'
import { openLeasedLocks } from '#nodes/locks/leased-locks.js'
import { serveLocks } from '#nodes/locks/serve.js'
import { remoteHost } from '#nodes/streaming/serve-host.js'

const runtime = systemRuntime
const leadAgainMs = 2000

export async function openCoordinatorNode(assembling: Assembling): Promise<Opened> {
  const { config, events, stores, member, operations } = assembling
  let locks: ServedContract | undefined
  const candidate = startCandidate({
    meta: stores.meta,
    objects: stores.objects,
    runtime,
    id: member.address,
    onError: (error) => events.retry('standing for coordinator', error),
    onLeading(coordinator, signal) {
      const lead = async (): Promise<void> => {
        const logChannels = namesOf(await fixLogChannelCount(config, coordinator))
        const placingChannels = placeLogChannels(
          {
            coordinator,
            runtime,
            logChannels,
            nodes: () => member.nodes.ofKind('streaming'),
            holder: (address) =>
              remoteHost(member.connections.to(address), member.connections.promptTo(address)),
            onError: (error) => events.retry('placing log channels', error),
          },
          signal,
        )
        await Promise.all([placingChannels, placeAllSegments(assembling, coordinator, signal)])
      }
      const onError = (error: unknown) => events.retry('leading', error)
      const keepLocks = async (): Promise<void> => {
        locks = serveLocks(await openLeasedLocks({ coordinator, runtime, signal, onError }))
        if (signal.aborted) locks = undefined
      }
      signal.addEventListener('abort', () => {
        locks = undefined
      })
      void again(lead, signal, onError)
      void again(keepLocks, signal, onError)
    },
  })
  member.serve('coordinator', () => serveCoordinator(candidate))
  member.serve('locks', () => locks)
  const membership = await member.join('coordinator', 1, () => {})
  checkMembership(operations, 'coordinator', membership)
  operations.metrics.onLook((show) => {
    show('elanus_coordinator_leading', 'Whether it leads', candidate.isLeading() ? 1 : 0)
  })
  return {
    membership,
    async stop() {
      // Another leads at once; who asks here is told so.
      await candidate.stop()
      await membership.leave()
    },
  }
}

/** While this coordinator leads. */
async function placeAllSegments(
  { events, stores, member }: Assembling,
  coordinator: Coordinator,
  signal: AbortSignal,
): Promise<void> {
  const onError = (error: unknown) => events.retry('placing segments', error)
  const replicaCounts = followReplicaCounts(stores.meta, runtime, onError)
  await placeSegments(
    {
      coordinator,
      runtime,
      nodes: () => member.nodes.ofKind('query'),
      replicaCount,
      replicaCounts: () => replicaCounts.current(),
      onError,
    },
    signal,
  )
  await replicaCounts.stop()
}

/** Until it has been done once, or the signal aborts. */
async function again(
  work: () => Promise<void>,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work()
      return
    } catch (error) {
      if (!signal.aborted) onError(error)
      await runtime.sleep(leadAgainMs, signal).catch(() => {})
    }
  }
}
