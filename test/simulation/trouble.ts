/** What goes wrong, and when. */
import type { Cluster } from './cluster.js'
import type { Blow } from './settings.js'
import { quiet } from './stores.js'

/** @returns ends it: everything works from then on */
export function startTrouble(cluster: Cluster): () => void {
  const { world, settings, network, disks } = cluster
  const random = world.random.fork()
  let isOver = false
  cluster.directory.lagsFromMs = world.nowMs
  Object.assign(network.faults, {
    loss: settings.networkLoss,
    duplicate: settings.networkDuplicate,
    slow: settings.networkSlow,
    delayMsMax: settings.networkDelayMsMax,
  })
  for (const faults of Object.values(disks.faults)) {
    Object.assign(faults, {
      refused: settings.storeRefused,
      lost: settings.storeLost,
      doneUnknown: settings.storeDoneUnknown,
      goneAfterUnknown: settings.storeGoneAfterUnknown,
      delayMsMax: settings.storeDelayMsMax,
    })
  }

  const blows: Record<Blow, () => unknown> = {
    crashServer: () => cluster.crash('server'),
    crashCoordinator: () => cluster.crash('coordinator'),
    crashWorker: () => cluster.crash('worker'),
    crashQuery: () => cluster.crash('query'),
    crashProxy: () => cluster.crash('proxy'),
    elect: () => cluster.elect(),
    moveLogChannel: () => cluster.moveLogChannel(),
    partition: () => {
      const [a = '', b = ''] = random.shuffle(cluster.names())
      world.say('world', `${a} does not reach ${b}`)
      world.count('partition')
      network.cut(a, b)
      if (random.chance(0.7)) network.cut(b, a)
      world.after(random.between(5, 150), 'heal', () => network.heal())
    },
    storeAway: () => {
      const store = random.pick(['wal', 'meta', 'objects'] as const)
      world.say('world', `${store} is away`)
      world.count(`${store} away`)
      disks.faults[store].awayUntilMs = world.nowMs + random.between(5, 150)
    },
    clockStep: () => cluster.stepClock(),
  }

  function schedule(blow: Blow): void {
    const everyMs = settings.everyMs[blow]
    if (everyMs === Number.POSITIVE_INFINITY) return
    world.after(random.between(0, 2 * everyMs), blow, () => {
      if (isOver) return
      blows[blow]()
      schedule(blow)
    })
  }
  for (const blow of Object.keys(blows) as Blow[]) schedule(blow)

  return () => {
    isOver = true
    cluster.directory.lagsFromMs = Number.POSITIVE_INFINITY
    network.heal()
    Object.assign(network.faults, { loss: 0, duplicate: 0, slow: 0, delayMsMax: 1 })
    for (const faults of Object.values(disks.faults)) {
      Object.assign(faults, quiet)
    }
  }
}
