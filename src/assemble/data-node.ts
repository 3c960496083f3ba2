/** A data node of a cluster. */
import {
  type Assembling,
  checkMembership,
  dataNodeOptions,
  drainMsMax,
  type Opened,
} from '#assemble/assembling.js'
import { systemRuntime } from '#base/system-runtime.js'
import { within } from '#cluster/leave.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { serveData } from '#nodes/data/serve.js'

const runtime = systemRuntime
export async function openDataNode({
  config,
  events,
  stores,
  member,
  operations,
}: Assembling): Promise<Opened> {
  const node = await startDataNode(dataNodeOptions(config, stores, 'data-node'))
  member.serve('data', () => serveData(node))
  const membership = await member.join('data', config.threads, () => {})
  checkMembership(operations, 'data', membership)
  return {
    membership,
    // New jobs go elsewhere; what takes longer than a while is done again there.
    async drain() {
      const onError = (error: unknown) => events.retry('ending jobs', error)
      await within(runtime, drainMsMax, () => node.stop(), onError)
    },
    stop: () => membership.leave(),
  }
}
