/** A query node of a cluster. */
import {
  type Assembling,
  checkMembership,
  division,
  drain,
  type Opened,
} from '#assemble/assembling.js'
import { sealedMemory } from '#assemble.js'
import { systemRuntime } from '#base/system-runtime.js'
import { native } from '#engine/index/native.js'
import type { Membership } from '#nodes/coordinator/membership.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import { serveQuery } from '#nodes/query/serve.js'
import { showMemory } from '#operations.js'

const runtime = systemRuntime
/** A life that has ended has forgotten: the segments of the next begin empty. */
export async function openQueryNode({
  config,
  events,
  stores,
  member,
  operations,
  memory,
}: Assembling): Promise<Opened> {
  const start = () =>
    startQueryNode({
      native,
      objects: stores.objects,
      runtime,
      verifyChecksums: false,
      memoryBytes: division(config).sealedBytes,
      onDamaged: (error) => events.problem('an index is damaged and not used', error),
    })
  let node = start()
  let served = serveQuery(node)
  const membership: Membership = await member.join('query', config.memory, () => {
    const ended = node
    node = start()
    served = serveQuery(node)
    ended.stop().catch((error: unknown) => events.retry('ending a query node', error))
  })
  checkMembership(operations, 'query', membership)
  showMemory(operations, () => [sealedMemory(node)])
  operations.metrics.onLook((show) => {
    const { segmentCount, residentCount, waitingCount } = node.memory()
    show('elanus_query_segments', 'Sealed segments that are searched here', segmentCount)
    show('elanus_query_segments_resident', 'Of them in memory', residentCount)
    show('elanus_query_reads_waiting', 'Reads that wait for room in memory', waitingCount)
  })
  memory.push(() => sealedMemory(node))
  member.serve('query', (life) => (life === membership.life ? served : undefined))
  return {
    membership,
    drain: () => drain(member, 'query', () => node.memory().segmentCount > 0),
    async stop() {
      await membership.leave()
      await node.stop()
    },
  }
}
