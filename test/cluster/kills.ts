/** SIGKILL of nodes and services: every kind once, then pairs, in an order that a seed gives; again and again. */
import type { Random } from '../differential/random.js'
import { nameCoordinators } from './leader.js'
import type { Programs } from './programs.js'
import type { Disturbance } from './run-disturbances.js'

/** `leader` and `follower` are the coordinator that leads and the other. */
const nodes = [
  'proxy-1',
  'proxy-2',
  'leader',
  'follower',
  'streaming-1',
  'streaming-2',
  'query-1',
  'query-2',
  'data-1',
]
const pairsOfNodes = [
  ['leader', 'streaming-1'],
  ['streaming-1', 'streaming-2'],
  ['streaming-2', 'query-1'],
  ['query-1', 'query-2'],
  ['leader', 'follower'],
  ['proxy-1', 'streaming-2'],
  ['data-1', 'leader'],
  ['proxy-2', 'query-2'],
]

/** @param services those there are */
export function allVictims(services: readonly string[]): readonly (readonly string[])[] {
  const ofServices = services.flatMap((service, i) => [
    [service, services[(i + 1) % services.length] ?? service],
    [service, 'streaming-1'],
    [service, 'leader'],
  ])
  return [
    ...[...nodes, ...services].map((name) => [name]),
    ...pairsOfNodes,
    ...ofServices.filter(([one, other]) => one !== other),
  ]
}

/** `a,b+c` */
export function parseVictims(text: string): readonly (readonly string[])[] {
  return text.split(',').map((pair) => pair.split('+'))
}

export function* kills(
  programs: Programs,
  random: Random,
  victims: readonly (readonly string[])[],
): Generator<Disturbance, never> {
  for (;;) {
    // Those alone first, so that a short run has them.
    for (const count of [1, 2]) {
      const together = victims.filter(({ length }) => length === count)
      for (const names of shuffled(random, together)) yield killOf(programs, random, names)
    }
  }
}

function killOf(programs: Programs, random: Random, names: readonly string[]): Disturbance {
  let victims: readonly string[] = []
  return {
    name: names.join(' + '),
    steadyMs: random.integer(1500, 4000),
    lastsMs: random.integer(1500, 4000),
    async begin() {
      victims = await nameCoordinators(names, programs)
      await programs.kill(victims)
    },
    end: () => programs.restart(victims),
  }
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items]
  const order: T[] = []
  while (left.length > 0) order.push(...left.splice(random.integer(0, left.length - 1), 1))
  return order
}
