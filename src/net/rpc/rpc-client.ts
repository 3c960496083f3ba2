/**
 * Calls another node's contracts over gRPC, all on one exchange (node.proto). No answer is an UnreachableError: determinate
 * when the request was certainly not sent, or certainly not begun.
 */
import type { Context } from '#base/context.js'
import { checkCancelled } from '#base/context.js'
import { type ConnectionOptions, openConnection } from '#net/rpc/connection.js'

export interface RpcTarget {
  readonly contract: string
  /** Which of the node's objects; '' when it has one. */
  readonly object: string
}

export interface RpcClient {
  /** @throws what the method threw; UnreachableError; the signal's reason */
  call(
    target: RpcTarget,
    method: string,
    args: readonly unknown[],
    context: Context,
  ): Promise<unknown>
  /** An async iterator's parts, and what it returns. */
  stream(
    target: RpcTarget,
    method: string,
    args: readonly unknown[],
    context: Context,
  ): AsyncGenerator<unknown, unknown, undefined>
  close(): void
}

export interface RpcClientOptions extends ConnectionOptions {
  /** Of one call; none for streams. A node that is dead is noticed earlier, by pings. */
  readonly deadlineMs: number
  /** Told when a call has ended. */
  readonly onCall?: ((call: MadeCall) => void) | undefined
}

export interface MadeCall {
  readonly contract: string
  readonly method: string
  /** From the request until the answer is read; of a stream, its last part. */
  readonly ms: number
  readonly failed: boolean
}

export function openRpcClient(options: RpcClientOptions): RpcClient {
  const { deadlineMs } = options
  const connection = openConnection(options)
  return {
    async call(target, method, args, context) {
      const tell = begin(options, target, method)
      try {
        checkCancelled(context)
        const calls = await connection.reached()
        const result = await calls.call({ ...target, method, args }, deadlineMs, context)
        tell(false)
        return result
      } catch (error) {
        tell(true)
        throw error
      }
    },
    async *stream(target, method, args, context) {
      const tell = begin(options, target, method)
      let failed = true
      try {
        checkCancelled(context)
        const calls = await connection.reached()
        const last = yield* calls.stream({ ...target, method, args }, context)
        failed = false
        return last
      } finally {
        tell(failed)
      }
    },
    close: () => connection.close(),
  }
}

function begin(
  { onCall, runtime }: RpcClientOptions,
  { contract }: RpcTarget,
  method: string,
): (failed: boolean) => void {
  if (onCall === undefined) return () => {}
  const startedMs = runtime.monotonicMs()
  return (failed) => onCall({ contract, method, ms: runtime.monotonicMs() - startedMs, failed })
}
