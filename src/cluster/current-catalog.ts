/**
 * A proxy answers with the catalog of the cluster, also right after DDL elsewhere:
 *
 * 1. Who has changed the catalog tells every proxy that has a membership, and waits until it has taken the change over or its
 *    membership has ended. The client hears of its DDL then.
 * 2. A proxy relies on being told only while its membership lasts by its own clock, counted from before it was renewed, and after
 *    it has read the DDL log once since it joined. Otherwise it looks at the DDL log before each statement.
 *
 * So a proxy that is cut off does no harm: whoever does not wait for it knows that it looks, or cannot.
 */
import type { Context } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Connections } from '#cluster/connections.js'
import { receiveNotifications } from '#cluster/notify-proxies.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { listNodes, type Membership } from '#nodes/coordinator/membership.js'
import type { ProxyNode } from '#nodes/proxy/contract.js'
import type { MetaStore } from '#storage/meta/meta.js'

const target = { contract: 'proxy', object: '' }
const againMs = 50

export function serveProxy(proxy: ProxyNode): ServedContract {
  return {
    refreshCatalog: ([version]) => proxy.refreshCatalog(version as number),
    notify: receiveNotifications(({ processId, channel, payload }) =>
      proxy.notify(processId, channel, payload),
    ),
  }
}

export interface TellCatalogOptions {
  readonly meta: MetaStore
  readonly connections: Connections
  readonly runtime: Runtime
  /** Of this process: it knows. */
  readonly address: string
  readonly onError: (error: unknown) => void
}

/** Ends early when the context is cancelled: the change stays, whoever was not told hears of it by watching. */
export async function tellCatalog(
  { meta, connections, runtime, address, onError }: TellCatalogOptions,
  version: number,
  context: Context,
): Promise<void> {
  const told = new Set([address])
  while (!context.signal.aborted) {
    try {
      // Those that join later read the DDL log after they have joined.
      const left = (await listNodes(meta)).filter(
        (node) => node.kind === 'proxy' && !told.has(node.address),
      )
      if (left.length === 0) return
      const telling = left.map(async (node) => {
        const client = connections.promptTo(node.address)
        await client.call(target, 'refreshCatalog', [version], context)
        told.add(node.address)
      })
      const settled = await Promise.allSettled(telling)
      const failed = settled.find((result) => result.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    } catch (error) {
      if (context.signal.aborted) return
      if (!(error instanceof UnreachableError)) onError(error)
      await runtime.sleep(againMs, context.signal).catch(() => {})
    }
  }
}

export interface CurrentCatalog {
  isCurrent(): boolean
  /** With all that has happened before; those that ask at the same time share one. */
  refresh(): Promise<void>
}

export function followCatalog(
  proxy: Pick<ProxyNode, 'refreshCatalog'>,
  membership: () => Membership | undefined,
): CurrentCatalog {
  let lifeKnown: string | undefined
  let underWay: Promise<void> | undefined
  /** Begins when the one under way has ended: what has happened by now is in it. */
  let next: Promise<void> | undefined

  async function look(): Promise<void> {
    const before = membership()
    const life = before?.isPresent === true ? before.life : undefined
    await proxy.refreshCatalog()
    if (life !== undefined) lifeKnown = life
  }

  function begin(): Promise<void> {
    next = undefined
    underWay = look().finally(() => {
      underWay = undefined
    })
    return underWay
  }

  return {
    isCurrent() {
      const now = membership()
      return now?.isPresent === true && now.life === lifeKnown
    },
    refresh() {
      if (underWay === undefined) return begin()
      next ??= underWay.then(begin, begin)
      return next
    },
  }
}
