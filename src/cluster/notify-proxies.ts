/**
 * NOTIFY reaches those that LISTEN through other proxies: in the order of the commits here, once, as long as the other proxy is
 * taken for alive. The client that notifies does not wait for it.
 */
import { backgroundContext } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Connections } from '#cluster/connections.js'
import type { KnownNodes } from '#cluster/known-nodes.js'

export interface Notification {
  readonly processId: number
  readonly channel: string
  readonly payload: string
}

export interface NotifyOptions {
  readonly nodes: KnownNodes
  readonly connections: Connections
  readonly runtime: Runtime
  readonly address: string
  readonly onError: (error: unknown) => void
}

const target = { contract: 'proxy', object: '' }
const againMs = 100
const senderBytes = 8

export function openNotifier(options: NotifyOptions): {
  notify(notification: Notification): void
  /** What was not delivered within the time of an attempt is left out. */
  stop(): Promise<void>
} {
  const { nodes, connections, runtime, address, onError } = options
  const sender = Buffer.from(runtime.randomBytes(senderBytes)).toString('hex')
  /** Of each other proxy, what is under way to it. */
  const queues = new Map<string, Promise<void>>()
  let count = 0
  let isStopping = false

  function others(): readonly string[] {
    const present = nodes.ofKind('proxy').map((node) => node.address)
    return present.filter((other) => other !== address)
  }

  async function deliver(to: string, args: readonly unknown[]): Promise<void> {
    while (!isStopping && others().includes(to)) {
      try {
        await connections.promptTo(to).call(target, 'notify', args, backgroundContext)
        return
      } catch (error) {
        if (!(error instanceof UnreachableError)) return onError(error)
        await runtime.sleep(againMs)
      }
    }
  }

  return {
    notify({ processId, channel, payload }) {
      count += 1
      const args = [sender, count, processId, channel, payload]
      for (const to of others()) {
        const before = queues.get(to) ?? Promise.resolve()
        const after = before.then(() => deliver(to, args))
        queues.set(to, after)
        void after.then(() => {
          if (queues.get(to) === after) queues.delete(to)
        })
      }
    },
    async stop() {
      isStopping = true
      await Promise.all(queues.values())
    },
  }
}

/** Each notification once, also when it is delivered again because an answer was lost. */
export function receiveNotifications(
  take: (notification: Notification) => void,
): (args: readonly unknown[]) => Promise<void> {
  const newest = new Map<string, number>()
  return async ([sender, count, processId, channel, payload]) => {
    if ((count as number) <= (newest.get(sender as string) ?? 0)) return
    newest.set(sender as string, count as number)
    take({
      processId: processId as number,
      channel: channel as string,
      payload: payload as string,
    })
  }
}
