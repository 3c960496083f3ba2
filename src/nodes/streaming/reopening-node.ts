/**
 * A streaming node that, when it has failed (the log did not say whether it has something), is opened anew over the same
 * stores by itself: the log's writer is fenced and everything is replayed. What was under way gets 57P01 and the client finds
 * out by reading; until the next node is there, everything is refused with 57P03. Query and data node stay as they are.
 * When another owner has taken the log channel it is not taken back: whoever ordered that orders the next.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import { entrance } from '#nodes/streaming/entrance.js'
import {
  type LocalStreamingNode,
  openStreamingNode,
  type StreamingNodeOptions,
} from '#nodes/streaming/node.js'
import { NotOwnerError } from '#nodes/streaming/ownership.js'

const pauseMsFirst = 50
/** A log that was away for long: whoever waits for it to come back waits no longer than that more. */
const pauseMsMax = 1000

/** @throws as openStreamingNode, when it cannot be opened the first time */
export async function openReopeningStreamingNode(
  options: StreamingNodeOptions,
): Promise<LocalStreamingNode> {
  let stopped = false
  let reopening: Promise<void> | undefined
  let current: LocalStreamingNode | undefined
  let deposed: NotOwnerError | undefined

  function open(): Promise<LocalStreamingNode> {
    return openStreamingNode({
      ...options,
      onFailure(error) {
        options.onFailure?.(error)
        const failed = current
        current = undefined
        if (error instanceof NotOwnerError) {
          deposed = error
          failed?.stop().catch(() => {})
        } else if (!stopped) reopening ??= reopen(failed)
      },
    })
  }

  async function reopen(failed: LocalStreamingNode | undefined): Promise<void> {
    // What it may still tell the coordinator must have been told before the next one asks.
    await failed?.abandon().catch(() => {})
    for (let pauseMs = pauseMsFirst; !stopped; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
      try {
        const next = await open()
        reopening = undefined
        current = next
        return
      } catch (error) {
        if (error instanceof NotOwnerError) {
          deposed = error
          // Whoever believes that the log channel is owned here must hear of it: nobody else would be told to take it.
          options.onFailure?.(error)
          break
        }
        options.onBackgroundError?.(error)
        await options.runtime.sleep(pauseMs)
      }
    }
    reopening = undefined
  }

  function node(): LocalStreamingNode {
    if (current !== undefined) return current
    if (deposed !== undefined) throw deposed
    throw new DatabaseError(SqlState.cannotConnectNow, 'the database system is in recovery mode')
  }

  current = await open()
  return {
    get recoveredDdl() {
      return node().recoveredDdl
    },
    async abandon() {
      // Not to come back: another may be the owner by then.
      stopped = true
      await reopening
      await current?.abandon()
    },
    runBackground: async () => node().runBackground(),
    ...entrance(node),
    async stop() {
      stopped = true
      await reopening
      await current?.stop()
    },
  }
}
