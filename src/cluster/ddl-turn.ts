/**
 * One transaction with DDL at a time in the whole cluster: a key of the meta store with a lease. A proxy that is not heard of for
 * that long loses its turn; the coordinator's DDL log refuses what it then appends to an older version.
 */
import { type Context, checkCancelled } from '#base/context.js'
import type { Runtime } from '#base/runtime.js'
import type { DdlTurn } from '#nodes/proxy/contract.js'
import type { MetaLease, MetaStore } from '#storage/meta/meta.js'

const key = 'cluster/ddl-turn'
const leaseMs = 5000
const lookMs = 25

export async function takeDdlTurn(
  meta: MetaStore,
  runtime: Runtime,
  id: string,
  context: Context,
): Promise<DdlTurn> {
  const held = { untilMs: runtime.monotonicMs() + leaseMs }
  const lease = await meta.grantLease(leaseMs)
  const ended = new AbortController()
  const keeping = keep(lease, held, runtime, ended.signal)
  const end = async (): Promise<void> => {
    ended.abort()
    await keeping
    // Otherwise it ends by itself.
    await lease.revoke().catch(() => {})
  }
  const put = { kind: 'put', key, value: new TextEncoder().encode(id), lease: lease.id } as const
  try {
    for (;;) {
      checkCancelled(context)
      const outcome = await meta.write([{ key, revision: 0 }], [put])
      if (outcome.kind === 'done') {
        return { end, isHeld: () => runtime.monotonicMs() < held.untilMs }
      }
      await runtime.sleep(lookMs, context.signal)
    }
  } catch (error) {
    await end()
    throw error
  }
}

async function keep(
  lease: MetaLease,
  held: { untilMs: number },
  runtime: Runtime,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await runtime.sleep(leaseMs / 3, signal).catch(() => {})
    if (signal.aborted) return
    const askedMs = runtime.monotonicMs()
    const isKept = await lease.keepAlive().catch(() => undefined)
    if (isKept === true) held.untilMs = askedMs + leaseMs
    if (isKept === false) held.untilMs = Number.NEGATIVE_INFINITY
  }
}
