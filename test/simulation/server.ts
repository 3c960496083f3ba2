/** Every kind of node but the proxy in one process: what `elanus start` runs on one machine. */

import { createPlainNative } from '#engine/index/plain/plain-native.testing.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import { openReopeningStreamingNode } from '#nodes/streaming/reopening-node.js'
import type { SimProcess } from './process.js'
import type { Settings } from './settings.js'
import { type Disks, openStores } from './stores.js'
import { watchCoordinator } from './watch-coordinator.js'

export interface Server {
  readonly process: SimProcess
  readonly coordinator: Coordinator
  /** By log channel. */
  readonly streaming: ReadonlyMap<string, StreamingNode>
}

/** @throws what the stores throw: the process is of no use then */
export async function startServer(
  process: SimProcess,
  disks: Disks,
  settings: Settings,
): Promise<Server> {
  const { runtime, world } = process
  const { meta, wal, objects, files } = openStores(process, disks)
  const native = createPlainNative({
    get: (path) => files.get(path),
    put: (path, bytes) => files.put(path, bytes),
  })
  const coordinator = watchCoordinator(await openCoordinator({ meta, runtime }), process)
  const queryNode = startQueryNode({ native, objects, runtime })
  const dataNode = await startDataNode({
    native,
    objects,
    runtime,
    files,
    temporaryDirectory: 'temporary',
    threads: 1,
  })
  const streaming = new Map<string, StreamingNode>()
  for (let n = 0; n < settings.logChannelCount; n += 1) {
    const logChannel = `log-${n}`
    const node = await openReopeningStreamingNode({
      wal,
      logChannel,
      coordinator,
      queryNode,
      dataNode,
      native,
      runtime,
      limits: settings.limits,
      background: 'automatic',
      onFailure: (error) => {
        if (!process.alive) return
        world.count('streaming node failed')
        world.say(process.name, `${logChannel} has failed: ${String(error)}`)
      },
      onBackgroundError: (error) => {
        if (process.alive) world.noteBackgroundError(process.name, error)
      },
    })
    streaming.set(logChannel, node)
  }
  return { process, coordinator, streaming }
}
