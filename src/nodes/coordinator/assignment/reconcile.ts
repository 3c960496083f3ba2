/**
 * Orders that bring what is observed nearer to what is wanted. Pure and repeatable: an order that was lost is given again, one
 * that was followed is not.
 */
import type { Placement } from '#nodes/coordinator/assignment/problem.js'

export type Order =
  /** Log channels: to own it; segments: to load it. */
  | { readonly kind: 'take'; readonly node: string; readonly key: string }
  | { readonly kind: 'give'; readonly node: string; readonly key: string }

/** One holder at a time: the old one gives before the new one takes; a holder that is gone need not. */
export function ordersOfOwners(
  wanted: Placement,
  observed: Placement,
  liveNodes: ReadonlySet<string>,
): Order[] {
  const orders: Order[] = []
  for (const [key, [owner]] of wanted) {
    if (owner === undefined) continue
    const holders = (observed.get(key) ?? []).filter((id) => liveNodes.has(id))
    const others = holders.filter((id) => id !== owner)
    for (const node of others) orders.push({ kind: 'give', node, key })
    if (others.length === 0 && !holders.includes(owner))
      orders.push({ kind: 'take', node: owner, key })
  }
  return orders
}

/** Loaded where it is wanted before it is released where it is not; what nobody wants is released. */
export function ordersOfReplicas(
  wanted: Placement,
  observed: Placement,
  liveNodes: ReadonlySet<string>,
): Order[] {
  const orders: Order[] = []
  for (const [key, nodes] of wanted) {
    const holders = (observed.get(key) ?? []).filter((id) => liveNodes.has(id))
    const missing = nodes.filter((id) => liveNodes.has(id) && !holders.includes(id))
    for (const node of missing) orders.push({ kind: 'take', node, key })
    if (missing.length > 0 || nodes.length === 0) continue
    for (const node of holders) if (!nodes.includes(node)) orders.push({ kind: 'give', node, key })
  }
  for (const [key, holders] of observed) {
    if (wanted.has(key)) continue
    for (const node of holders) if (liveNodes.has(node)) orders.push({ kind: 'give', node, key })
  }
  return orders
}
