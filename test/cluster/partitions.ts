/** Cuts between hosts, each with what it is meant to bring about; in order, again and again. */
import type { Random } from '../differential/random.js'
import { nameCoordinators } from './leader.js'
import type { Network } from './network.js'
import type { Programs } from './programs.js'
import type { Disturbance } from './run-disturbances.js'

/** `leader` and `follower` are the coordinator that leads and the other. */
export interface Cut {
  readonly name: string
  readonly from: readonly string[]
  readonly to: readonly string[]
  /** Only what goes from the one to the other is dropped. */
  readonly oneWay?: boolean
}

export const servicesHost = 'services'
const proxies = ['proxy-1', 'proxy-2']
const coordinators = ['leader', 'follower']
const streaming = ['streaming-1', 'streaming-2']
const query = ['query-1', 'query-2']

export const cuts: readonly Cut[] = [
  {
    name: 'a deposed leader: cut off from the meta store, reached by everybody else',
    from: ['leader'],
    to: [servicesHost],
  },
  {
    name: 'a deposed owner: cut off from log and meta store, reached by proxies',
    from: ['streaming-1'],
    to: [servicesHost],
  },
  {
    name: 'a stale proxy: cut off from coordinators and meta store',
    from: ['proxy-1'],
    to: [...coordinators, servicesHost],
  },
  {
    name: 'a leader whose requests to the meta store are lost, not the answers',
    from: ['leader'],
    to: [servicesHost],
    oneWay: true,
  },
  {
    name: 'an owner who gets no answers from log and meta store',
    from: [servicesHost],
    to: ['streaming-2'],
    oneWay: true,
  },
  {
    name: 'a proxy that gets no answers from owners',
    from: streaming,
    to: ['proxy-2'],
    oneWay: true,
  },
  {
    name: 'proxies whose requests do not reach one owner',
    from: proxies,
    to: ['streaming-1'],
    oneWay: true,
  },
  { name: 'owners and query nodes, crosswise', from: ['streaming-1'], to: ['query-1'] },
  { name: 'owners without query nodes', from: streaming, to: query },
  { name: 'owners cut off from each other', from: ['streaming-1'], to: ['streaming-2'] },
  {
    name: 'an owner cut off from the leader',
    from: ['streaming-2'],
    to: ['leader'],
  },
  {
    name: 'two halves, the services with the second',
    from: ['proxy-1', 'leader', 'streaming-1', 'query-1'],
    to: ['proxy-2', 'follower', 'streaming-2', 'query-2', 'data-1', servicesHost],
  },
  {
    name: 'services cut off from everybody',
    from: [servicesHost],
    to: [...proxies, ...coordinators, ...streaming, ...query, 'data-1'],
  },
]

export function* partitions(
  programs: Programs,
  network: Network,
  random: Random,
  wanted: readonly Cut[] = cuts,
): Generator<Disturbance, never> {
  for (;;) {
    for (const cut of wanted) {
      yield {
        name: cut.name,
        steadyMs: random.integer(2000, 5000),
        lastsMs: random.integer(8000, 20_000),
        async begin() {
          // Who leads is asked once: it may be another while the cut is made.
          const hosts = await nameCoordinators([...cut.from, ...cut.to], programs)
          for (const from of hosts.slice(0, cut.from.length)) {
            for (const to of hosts.slice(cut.from.length)) {
              network.drop(from, to)
              if (cut.oneWay !== true) network.drop(to, from)
            }
          }
        },
        async end() {
          network.heal()
        },
      }
    }
  }
}
