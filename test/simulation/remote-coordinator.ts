/**
 * The coordinator as a process elsewhere sees it: calls go to whoever is believed to lead, and are repeated for a while when
 * nobody answers or the one who answers leads no more. All of them are safe to repeat.
 */
import { DatabaseError, SqlState, UnreachableError } from '#base/errors.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { Directory } from './directory.js'
import type { Address, Network } from './network.js'
import type { SimProcess } from './process.js'
import { coordinatorTravels } from './travels.js'

const attemptsMax = 40
const pauseMs = 10

type Method = (...given: unknown[]) => Promise<unknown>

export function remoteCoordinator(
  process: SimProcess,
  network: Network,
  directory: Directory,
): Coordinator {
  const address = (): Address<Coordinator> | undefined =>
    directory.lookUp(process.name, 'coordinator') as Address<Coordinator> | undefined
  const stub = network.connect(process, 'coordinator', address, coordinatorTravels)
  const methods = Object.entries(stub).map(([name, method]) => {
    if (name === 'timestampNow') return [name, method]
    return [name, (...given: unknown[]) => persist(process, () => (method as Method)(...given))]
  })
  return { ...(Object.fromEntries(methods) as Coordinator), stop: async () => {} }
}

async function persist(process: SimProcess, call: () => Promise<unknown>): Promise<unknown> {
  let unclear: unknown
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call()
    } catch (error) {
      const isUnreachable = error instanceof UnreachableError
      const isDeposed = error instanceof DatabaseError && error.sqlState === SqlState.adminShutdown
      if (isUnreachable && error.outcome === 'indeterminate') unclear = error
      if ((!isUnreachable && !isDeposed) || attempt >= attemptsMax) throw unclear ?? error
      await process.runtime.sleep(pauseMs)
    }
  }
}
