/**
 * Which nodes there are: each keeps `nodes/<kind>/<id>` in the meta store with a lease. A node whose lease has ended is taken for
 * dead: what it owned is given to others, so it must not come back under the same id as if nothing had happened; it registers
 * anew with another life.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { ClusterNode } from '#nodes/coordinator/contract.js'
import { decodeJson, encodeJson, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaLease, MetaStore } from '#storage/meta/meta.js'

export interface MembershipOptions {
  /** Closed by whoever opened it. */
  readonly meta: MetaStore
  readonly runtime: Runtime
  /** Its `life` is the number of this registration. */
  readonly node: Omit<ClusterNode, 'life'>
  readonly leaseMs?: number | undefined
  /** The lease has ended: others think that the node is dead. It is registered anew, as another life. */
  readonly onLost?: ((life: string) => void) | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}

export interface Membership {
  readonly life: string
  /** The others see it, by the clock here: its lease lasts, counted from before it was kept. */
  readonly isPresent: boolean
  /** What is told of the node changes: draining, capacity. */
  update(change: Partial<Pick<ClusterNode, 'isDraining' | 'capacity'>>): Promise<void>
  /** Leaves: others hear at once. */
  leave(): Promise<void>
}

const leaseMsDefault = 3000
const retryMsMax = 500
const lifeBytes = 8

/** @throws StoreError; 55000 when a node with the id is there */
export async function joinCluster(options: MembershipOptions): Promise<Membership> {
  const { meta, runtime } = options
  const leaseMs = options.leaseMs ?? leaseMsDefault
  const onError = options.onError ?? (() => {})
  const leaving = new AbortController()
  let { node } = options
  let life = newLife()
  let presentUntilMs = Number.NEGATIVE_INFINITY
  let lease = await register()
  const keeping = keep()

  function newLife(): string {
    return Buffer.from(runtime.randomBytes(lifeBytes)).toString('hex')
  }

  async function register(): Promise<MetaLease> {
    const sinceMs = runtime.monotonicMs()
    const granted = await meta.grantLease(leaseMs)
    try {
      const key = metaKeys.node(node.kind, node.id)
      const value = encodeJson({ ...node, life })
      const outcome = await meta.write(
        [{ key, revision: 0 }],
        [{ kind: 'put', key, value, lease: granted.id }],
      )
      if (outcome.kind === 'done') {
        presentUntilMs = sinceMs + leaseMs
        return granted
      }
      throw new DatabaseError(
        SqlState.objectNotInPrerequisiteState,
        `there is a ${node.kind} node "${node.id}" already`,
        { hint: 'Give each node its own id, or wait until the lease of the one before has ended.' },
      )
    } catch (error) {
      await granted.revoke().catch(() => {})
      throw error
    }
  }

  async function keep(): Promise<void> {
    const { signal } = leaving
    while (!signal.aborted) {
      await runtime.sleep(leaseMs / 3, signal).catch(() => {})
      if (signal.aborted) return
      try {
        const sinceMs = runtime.monotonicMs()
        if (await lease.keepAlive()) {
          presentUntilMs = sinceMs + leaseMs
          continue
        }
        presentUntilMs = Number.NEGATIVE_INFINITY
        const lost = life
        life = newLife()
        options.onLost?.(lost)
        lease = await register()
      } catch (error) {
        onError(error)
        await runtime.sleep(runtime.random() * retryMsMax, signal).catch(() => {})
      }
    }
  }

  return {
    get life() {
      return life
    },
    get isPresent() {
      return runtime.monotonicMs() < presentUntilMs
    },
    async update(change) {
      node = { ...node, ...change }
      const key = metaKeys.node(node.kind, node.id)
      const value = encodeJson({ ...node, life })
      await meta.write([], [{ kind: 'put', key, value, lease: lease.id }])
    },
    async leave() {
      leaving.abort()
      await keeping
      presentUntilMs = Number.NEGATIVE_INFINITY
      await lease.revoke()
    },
  }
}

export async function listNodes(meta: MetaStore): Promise<readonly ClusterNode[]> {
  return (await meta.list(metaKeys.nodePrefix)).map(({ value }) => decodeJson(value) as ClusterNode)
}

/** All nodes there are, now and after every change, until the signal aborts. */
export async function* watchNodes(
  meta: MetaStore,
  signal: AbortSignal,
): AsyncGenerator<readonly ClusterNode[]> {
  // Watched first: what changes while the list is read is seen.
  const changes = meta.watch(metaKeys.nodePrefix, signal)
  yield await listNodes(meta)
  for await (const _ of changes) {
    if (signal.aborted) return
    yield await listNodes(meta)
  }
}
