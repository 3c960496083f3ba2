/**
 * The log channels that one process owns: taken and given as ordered, each with a streaming node of its own.
 *
 * Giving: new requests are refused with 57P03 (whoever asks waits and asks the next owner), those inside end, the lease is
 * given back, so the next owner begins at once. Orders are idempotent; one of a log channel at a time, the last one stands.
 */
import { Mutex } from '#base/async/mutex.js'
import { backgroundContext } from '#base/context.js'
import type { QueryNode } from '#nodes/query/contract.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import { entrance } from '#nodes/streaming/entrance.js'
import type { LocalStreamingNode, StreamingNodeOptions } from '#nodes/streaming/node.js'
import { NotOwnerError } from '#nodes/streaming/ownership.js'
import { openReopeningStreamingNode } from '#nodes/streaming/reopening-node.js'

export interface StreamingHostOptions
  extends Omit<StreamingNodeOptions, 'logChannel' | 'queryNode' | 'onFailure' | 'ownership'> {
  /**
   * The query nodes as the owner of the log channel sees them: stopped when it is given away, which leaves what is loaded to
   * the next owner.
   */
  readonly openQueryNode: (logChannel: string) => QueryNode
  readonly onFailure?: ((logChannel: string, error: unknown) => void) | undefined
  /** Before anyone is let in: what the log says that others must know. */
  readonly onTaken?: ((node: LocalStreamingNode) => Promise<void>) | undefined
}

export interface StreamingHost {
  /** Resolves when the log channel is owned here. @throws as openStreamingNode; another order may be given */
  take(logChannel: string): Promise<void>
  /** Resolves when it is owned here no more. @param how 'flush': what grows is sealed first, the next owner replays little */
  give(logChannel: string, how?: 'flush' | 'at once'): Promise<void>
  owned(): readonly string[]
  /** Of a log channel, whether it is owned here or not: who asks when it is not is told 57P03. */
  node(logChannel: string): StreamingNode
  stop(): Promise<void>
}

interface Owned {
  readonly node: LocalStreamingNode
  readonly queryNode: QueryNode
  /** Scans that go on after the log channel was given away. */
  isClosing: boolean
}

export function openStreamingHost(options: StreamingHostOptions): StreamingHost {
  const owned = new Map<string, Owned>()
  const orders = new Map<string, Mutex>()
  const ending = new Set<Promise<void>>()

  function inOrder(logChannel: string, order: () => Promise<void>): Promise<void> {
    const mutex = orders.get(logChannel) ?? new Mutex()
    orders.set(logChannel, mutex)
    return mutex.run(order)
  }

  async function take(logChannel: string): Promise<void> {
    if (owned.has(logChannel)) return
    const queryNode = options.openQueryNode(logChannel)
    try {
      const node = await openReopeningStreamingNode({
        ...options,
        logChannel,
        queryNode,
        ownership: 'leased',
        onFailure(error) {
          // Deposed: nothing is left to give.
          if (error instanceof NotOwnerError) void inOrder(logChannel, () => drop(logChannel))
          options.onFailure?.(logChannel, error)
        },
      })
      await options.onTaken?.(node)
      owned.set(logChannel, { node, queryNode, isClosing: false })
    } catch (error) {
      await queryNode.stop()
      throw error
    }
  }

  async function drop(logChannel: string): Promise<void> {
    const present = owned.get(logChannel)
    if (present === undefined) return
    present.isClosing = true
    await present.node.abandon()
    owned.delete(logChannel)
    // Open scans end with what they have.
    const end = present.node
      .stop()
      .then(() => present.queryNode.stop())
      .catch((error: unknown) => options.onBackgroundError?.(error))
      .finally(() => ending.delete(end))
    ending.add(end)
  }

  async function give(logChannel: string, how: 'flush' | 'at once'): Promise<void> {
    const present = owned.get(logChannel)
    if (present === undefined) return
    if (how === 'flush') {
      // Not necessary: the log has everything.
      await present.node.flush(undefined, backgroundContext).catch(() => {})
    }
    await drop(logChannel)
  }

  function nodeOf(logChannel: string): LocalStreamingNode {
    const present = owned.get(logChannel)
    if (present === undefined || present.isClosing) throw new NotOwnerError(logChannel)
    return present.node
  }

  return {
    take: (logChannel) => inOrder(logChannel, () => take(logChannel)),
    give: (logChannel, how = 'at once') => inOrder(logChannel, () => give(logChannel, how)),
    owned: () => [...owned].filter(([, { isClosing }]) => !isClosing).map(([name]) => name),
    node: (logChannel) => entrance(() => nodeOf(logChannel)),
    async stop() {
      const names = [...new Set([...owned.keys(), ...orders.keys()])]
      await Promise.all(names.map((name) => inOrder(name, () => drop(name))))
      await Promise.all(ending)
    },
  }
}
