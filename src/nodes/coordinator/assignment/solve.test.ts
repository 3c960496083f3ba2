import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Item, NodeCapacity, Placement } from '#nodes/coordinator/assignment/problem.js'
import {
  type Order,
  ordersOfOwners,
  ordersOfReplicas,
} from '#nodes/coordinator/assignment/reconcile.js'
import { solvePlacement } from '#nodes/coordinator/assignment/solve.js'

const nodesArbitrary = fc
  .array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 })
  .map((capacities): NodeCapacity[] =>
    capacities.map((capacity, n) => ({ id: `node-${n}`, capacity })),
  )
const equalNodes = fc
  .integer({ min: 2, max: 6 })
  .map((count): NodeCapacity[] =>
    Array.from({ length: count }, (_, n) => ({ id: `node-${n}`, capacity: 1 })),
  )
const itemsArbitrary = fc
  .array(
    fc.record({
      load: fc.nat(100),
      replicaCount: fc.integer({ min: 1, max: 3 }),
      group: fc.constantFrom('t', 'u', undefined),
      near: fc.subarray(['node-0', 'node-2', 'node-9']),
    }),
    { maxLength: 40 },
  )
  .map((items): Item[] => items.map((item, n) => ({ key: `item-${n}`, ...item })))
const single = itemsArbitrary.map((items) => items.map((item) => ({ ...item, replicaCount: 1 })))
const nothing: Placement = new Map()

function levels(nodes: readonly NodeCapacity[], items: readonly Item[], placed: Placement) {
  return nodes.map(({ id, capacity }) => {
    const held = items.filter(({ key }) => placed.get(key)?.includes(id))
    return held.reduce((sum, { load }) => sum + load, 0) / capacity
  })
}

/** Replicas on a node where there was none. */
function moved(before: Placement, after: Placement): string[] {
  return [...after].flatMap(([key, nodes]) =>
    nodes.filter((id) => before.get(key)?.includes(id) !== true).map(() => key),
  )
}

describe('placement', () => {
  test('every item is on as many different nodes as it wants, or there are', () => {
    fc.assert(
      fc.property(nodesArbitrary, itemsArbitrary, (nodes, items) => {
        const placed = solvePlacement({ nodes, items, last: nothing })
        for (const { key, replicaCount } of items) {
          const on = placed.get(key) ?? []
          expect(new Set(on).size).toBe(on.length)
          expect(on.length).toBe(Math.min(replicaCount, nodes.length))
        }
      }),
    )
  })

  test('levels of single items differ by no more than the largest item and a tenth of the mean', () => {
    fc.assert(
      fc.property(nodesArbitrary, single, (nodes, items) => {
        const all = levels(nodes, items, solvePlacement({ nodes, items, last: nothing }))
        const mean = all.reduce((sum, level) => sum + level, 0) / all.length
        const largest = Math.max(0, ...items.map(({ load }) => load))
        const smallest = Math.min(...nodes.map(({ capacity }) => capacity))
        expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(
          largest / smallest + 0.1 * mean + 1e-9,
        )
      }),
    )
  })

  test('nothing moves when nothing has changed', () => {
    fc.assert(
      fc.property(nodesArbitrary, itemsArbitrary, (nodes, items) => {
        const first = solvePlacement({ nodes, items, last: nothing })
        expect(solvePlacement({ nodes, items, last: first })).toEqual(first)
      }),
    )
  })

  test('when a node dies only what it held moves, and it is spread', () => {
    fc.assert(
      fc.property(equalNodes, single, fc.nat(), (nodes, items, pick) => {
        const before = solvePlacement({ nodes, items, last: nothing })
        const dead = nodes[pick % nodes.length]
        const left = nodes.filter((node) => node !== dead)
        const after = solvePlacement({ nodes: left, items, last: before })
        for (const key of moved(before, after)) {
          expect(before.get(key)).toEqual([dead?.id])
        }
        const all = levels(left, items, after)
        const mean = all.reduce((sum, level) => sum + level, 0) / all.length
        const largest = Math.max(0, ...items.map(({ load }) => load))
        expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(largest + 0.1 * mean + 1e-9)
      }),
    )
  })

  test('a node that comes gets its part, and only it gets anything', () => {
    const items = Array.from({ length: 60 }, (_, n) => ({
      key: `i${n}`,
      load: 10,
      replicaCount: 2,
    }))
    const node = (id: string) => ({ id, capacity: 1 })
    const before = solvePlacement({ nodes: ['a', 'b'].map(node), items, last: nothing })
    const nodes = ['a', 'b', 'c'].map(node)
    const after = solvePlacement({ nodes, items, last: before })
    for (const [key, on] of after) {
      for (const id of on) if (!before.get(key)?.includes(id)) expect(id).toBe('c')
    }
    const [, , third = 0] = levels(nodes, items, after)
    expect(third).toBeGreaterThan(300)
  })

  test('segments of a table are spread, whatever else lies on the nodes', () => {
    const nodes = ['a', 'b', 'c'].map((id) => ({ id, capacity: 1 }))
    const item = (group: string, n: number) => ({
      ...{ key: `${group}${n}`, load: 1, replicaCount: 1, group },
    })
    const items = ['t', 'u', 'v'].flatMap((group) => [0, 1, 2, 3, 4, 5].map((n) => item(group, n)))
    const perTable = (placed: Placement, group: string) =>
      nodes.map(({ id }) => {
        const held = items.filter((one) => one.group === group && placed.get(one.key)?.includes(id))
        return held.length
      })
    const fresh = solvePlacement({ nodes, items, last: nothing })
    const last = solvePlacement({ nodes: nodes.slice(0, 2), items, last: nothing })
    const grown = solvePlacement({ nodes, items, last })
    for (const group of ['t', 'u', 'v']) {
      expect(Math.max(...perTable(fresh, group))).toBe(2)
      expect(Math.max(...perTable(last, group))).toBe(3)
      expect(Math.max(...perTable(grown, group))).toBeLessThanOrEqual(3)
      expect(perTable(grown, group)[2]).toBeGreaterThan(0)
    }
  })

  test('what moves to a node that comes back is what it still has at hand', () => {
    const nodes = ['a', 'b'].map((id) => ({ id, capacity: 1 }))
    const items = Array.from({ length: 20 }, (_, n) => ({
      ...{ key: `i${n}`, load: 1, replicaCount: 1, near: n % 2 === 0 ? ['b'] : [] },
    }))
    const last = new Map(items.map(({ key }) => [key, ['a']]))
    const after = solvePlacement({ nodes, items, last })
    const gone = moved(last, after)
    expect(gone.length).toBeGreaterThan(5)
    for (const key of gone) expect(Number(key.slice(1)) % 2).toBe(0)
  })

  test('a draining node loses everything, unless it is the last', () => {
    const items = [{ key: 'i', load: 1, replicaCount: 1 }]
    const a = { id: 'a', capacity: 1, isDraining: true }
    const last = new Map([['i', ['a']]])
    const alone = solvePlacement({ nodes: [a], items, last })
    expect(alone.get('i')).toEqual(['a'])
    const both = solvePlacement({ nodes: [a, { id: 'b', capacity: 1 }], items, last })
    expect(both.get('i')).toEqual(['b'])
  })
})

/** Follows some orders, forgets others. */
function follow(observed: Map<string, string[]>, orders: readonly Order[], heard: () => boolean) {
  for (const { kind, node, key } of orders) {
    if (!heard()) continue
    const holders = (observed.get(key) ?? []).filter((id) => id !== node)
    observed.set(key, kind === 'take' ? [...holders, node] : holders)
  }
}

const placementArbitrary = (countMax: number) =>
  fc
    .array(fc.subarray(['a', 'b', 'c', 'd'], { minLength: 1, maxLength: countMax }), {
      maxLength: 8,
    })
    .map((on): Map<string, string[]> => new Map(on.map((ids, n) => [`item-${n}`, ids])))

const sorted = (placement: Placement) =>
  new Map(
    [...placement].filter(([, ids]) => ids.length > 0).map(([key, ids]) => [key, ids.toSorted()]),
  )

describe('orders', () => {
  const live = new Set(['a', 'b', 'c', 'd'])

  test('of owners: whoever hears some of them, in the end each has the one that is wanted, never two', () => {
    fc.assert(
      fc.property(
        placementArbitrary(1),
        placementArbitrary(1),
        fc.array(fc.boolean(), { maxLength: 40 }),
        (wanted, observed, hearing) => {
          const draws = [...hearing]
          for (let round = 0; round < 60; round += 1) {
            follow(observed, ordersOfOwners(wanted, observed, live), () => draws.shift() ?? true)
            for (const holders of observed.values()) expect(holders.length).toBeLessThanOrEqual(1)
          }
          for (const [key, nodes] of wanted) expect(observed.get(key)).toEqual(nodes)
          expect(ordersOfOwners(wanted, observed, live)).toEqual([])
        },
      ),
    )
  })

  test('of replicas: nothing that is wanted is ever without one that it had', () => {
    fc.assert(
      fc.property(
        placementArbitrary(3),
        placementArbitrary(3),
        fc.array(fc.boolean(), { maxLength: 40 }),
        (wanted, observed, hearing) => {
          const draws = [...hearing]
          const had = new Set([...observed].filter(([, on]) => on.length > 0).map(([key]) => key))
          for (let round = 0; round < 60; round += 1) {
            follow(observed, ordersOfReplicas(wanted, observed, live), () => draws.shift() ?? true)
            for (const key of wanted.keys()) {
              if (had.has(key)) expect(observed.get(key)?.length).toBeGreaterThan(0)
            }
          }
          expect(sorted(observed)).toEqual(sorted(wanted))
        },
      ),
    )
  })
})
