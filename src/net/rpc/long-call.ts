/**
 * Calls that take minutes and tell how far they are: a stream of reports, whose return value is the result. No deadline: a
 * peer that is gone is noticed by pings.
 */
import type { Context } from '#base/context.js'
import type { RpcClient, RpcTarget } from '#net/rpc/rpc-client.js'

/** Reports that come faster than they are read are left out, but for the newest. */
export async function* serveLong(
  run: (report: (value: unknown) => void) => Promise<unknown>,
): AsyncGenerator<unknown, unknown> {
  let newest: { readonly value: unknown } | undefined
  let isDone = false
  let wake = () => {}
  const result = run((value) => {
    newest = { value }
    wake()
  }).finally(() => {
    isDone = true
    wake()
  })
  // Met below, unless the caller has gone.
  result.catch(() => {})
  for (;;) {
    const changed = new Promise<void>((resolve) => {
      wake = resolve
    })
    if (newest !== undefined) {
      const { value } = newest
      newest = undefined
      yield value
    } else if (isDone) return await result
    else await changed
  }
}

export async function callLong(
  client: RpcClient,
  target: RpcTarget,
  method: string,
  args: readonly unknown[],
  context: Context,
  onReport: (value: unknown) => void = () => {},
): Promise<unknown> {
  const parts = client.stream(target, method, args, context)
  for (;;) {
    const { value, done } = await parts.next()
    if (done === true) return value
    onReport(value)
  }
}
