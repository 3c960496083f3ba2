/**
 * What the leader does for log channels: each is owned by one streaming node, and everybody knows by which.
 *
 * In turns: 1. Which nodes are there, and what do they own? 2. Where should each log channel be (solve.ts)? What stays stays.
 * 3. Orders that bring the one nearer to the other (reconcile.ts); those under way are not waited for. 4. Who owns what is
 * written for all to see: a hint; an owner says by itself what it does not own.
 * Two leaders for a moment order against each other: terms and leases of the log channels keep that harmless.
 */
import type { Runtime } from '#base/runtime.js'
import type { NodeCapacity, Placement } from '#nodes/coordinator/assignment/problem.js'
import { ordersOfOwners } from '#nodes/coordinator/assignment/reconcile.js'
import { solvePlacement } from '#nodes/coordinator/assignment/solve.js'
import type { ClusterNode, Coordinator } from '#nodes/coordinator/contract.js'
import { decodeJson, encodeJson } from '#nodes/coordinator/meta-keys.js'
import type { LogChannelHolder } from '#nodes/streaming/contract.js'

export interface PlaceLogChannelsOptions {
  readonly coordinator: Coordinator
  readonly runtime: Runtime
  readonly logChannels: readonly string[]
  /** Streaming nodes that are alive. */
  readonly nodes: () => readonly ClusterNode[]
  readonly holder: (address: string) => LogChannelHolder
  readonly onError: (error: unknown) => void
}

/** Setting: JSON, log channel → address. */
export const ownersSetting = 'cluster/owners'
const turnMs = 250

/** Until the signal aborts. */
export async function placeLogChannels(
  options: PlaceLogChannelsOptions,
  signal: AbortSignal,
): Promise<void> {
  const { coordinator, runtime, onError } = options
  const orders = new Orders(onError)
  let told: Readonly<Record<string, string>> | undefined
  while (!signal.aborted) {
    try {
      told ??= await readOwners(coordinator)
      told = await turn(options, orders, told)
    } catch (error) {
      if (!signal.aborted) onError(error)
    }
    // What was ordered is done: the next order, and what everybody should know, follow at once.
    await Promise.race([runtime.sleep(turnMs, signal).catch(() => {}), orders.nextDone()])
  }
}

async function turn(
  options: PlaceLogChannelsOptions,
  orders: Orders,
  told: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const { coordinator, logChannels, holder } = options
  const nodes = options.nodes()
  const owned = await Promise.all(
    nodes.map(async ({ address }) => {
      // Who does not say is taken to own what it was known to: its lease ends if it is gone.
      const known = logChannels.filter((name) => told[name] === address)
      return [
        address,
        await holder(address)
          .owned()
          .catch(() => known),
      ] as const
    }),
  )
  const holders = (name: string) =>
    owned.filter(([, names]) => names.includes(name)).map(([address]) => address)
  const observed: Placement = new Map(logChannels.map((name) => [name, holders(name)]))
  const wanted = solvePlacement({
    nodes: nodes.map(capacityOf),
    items: logChannels.map((key) => ({ key, load: 1, replicaCount: 1 })),
    last: new Map(logChannels.map((name) => [name, lastOwner(holders(name), told[name])])),
  })
  const live = new Set(nodes.map(({ address }) => address))
  for (const { kind, node, key } of ordersOfOwners(wanted, observed, live)) {
    orders.give(key, () => (kind === 'take' ? holder(node).take(key) : holder(node).give(key)))
  }
  const found = Object.fromEntries(
    logChannels.flatMap((name) => {
      const owner = holders(name)[0] ?? told[name]
      return owner === undefined ? [] : [[name, owner] as const]
    }),
  )
  if (JSON.stringify(found) !== JSON.stringify(told)) {
    await coordinator.putSetting(ownersSetting, encodeJson(found))
  }
  return found
}

/** One at a time for each log channel. */
class Orders {
  readonly #underWay = new Set<string>()
  readonly #onError: (error: unknown) => void
  #wake = () => {}
  #hasDone = false

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  give(key: string, order: () => Promise<void>): void {
    if (this.#underWay.has(key)) return
    this.#underWay.add(key)
    void order()
      .then(() => true)
      .catch((error: unknown) => {
        this.#onError(error)
        return false
      })
      .then((isDone) => {
        this.#underWay.delete(key)
        // One that failed is given again in the next turn, no sooner.
        if (!isDone) return
        this.#hasDone = true
        this.#wake()
      })
  }

  /** One was done since this resolved last. */
  async nextDone(): Promise<void> {
    if (!this.#hasDone) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#hasDone = false
  }
}

function capacityOf({ address, capacity, isDraining }: ClusterNode): NodeCapacity {
  return { id: address, capacity, isDraining }
}

function lastOwner(holders: readonly string[], told: string | undefined): readonly string[] {
  if (holders.length > 0) return holders
  return told === undefined ? [] : [told]
}

/** Log channel → address, as of the leader's last turn. */
export async function readOwners(
  coordinator: Pick<Coordinator, 'getSetting'>,
): Promise<Readonly<Record<string, string>>> {
  const stored = await coordinator.getSetting(ownersSetting)
  return stored === undefined ? {} : (decodeJson(stored) as Record<string, string>)
}
