/** What a seed decides before anything happens: the shape of the cluster, which faults there are, what clients do. */
import type { StreamingLimits } from '#nodes/streaming/limits.js'
import type { OperationName } from './operations.js'
import type { Random } from './random.js'

export interface Settings {
  readonly logChannelCount: number
  /** 0: one server with everything but proxies. */
  readonly coordinatorCount: number
  /** Who leads: whoever is ordered to, or whoever has the lease. */
  readonly election: 'ordered' | 'leased'
  readonly leaderLeaseMs: number
  readonly workerCount: number
  /** 0: each worker has a query node of its own. */
  readonly queryCount: number
  readonly replicaCount: number
  readonly shardCount: number
  readonly proxyCount: number
  readonly sessionsPerProxy: number
  readonly limits: Partial<StreamingLimits>
  /** Of rows that are not flushed, and of segments that are, in a process. */
  readonly growingBytes: number
  readonly sealedBytes: number
  /** Time with faults. */
  readonly troubleMs: number
  /** Until a process hears who leads and owns. */
  readonly directoryLagMsMax: number
  /** Mean time between two blows; Infinity: none of the kind. */
  readonly everyMs: Readonly<Record<Blow, number>>
  readonly networkLoss: number
  readonly networkDuplicate: number
  readonly networkSlow: number
  readonly networkDelayMsMax: number
  readonly storeRefused: number
  readonly storeLost: number
  readonly storeDoneUnknown: number
  /** After an answer that got lost: the store refuses for a while, so that asking again says nothing. */
  readonly storeGoneAfterUnknown: number
  readonly storeDelayMsMax: number
  readonly clockSkewMsMax: number
  readonly clockDriftMax: number
  readonly operations: Readonly<Partial<Record<OperationName, number>>>
  readonly pauseMsMax: number
  /** Part of the sessions that write nothing: a deposed owner hears of that from nobody. */
  readonly readersOnly: number
  /** In the end all owners die at once: what is read then is what is on record and in the log. */
  readonly isRestarted: boolean
}

export type Blow =
  | 'crashServer'
  | 'crashCoordinator'
  | 'crashWorker'
  | 'crashQuery'
  | 'crashProxy'
  | 'elect'
  | 'moveLogChannel'
  | 'partition'
  | 'storeAway'
  | 'clockStep'

/** Log channels move all the time, many only read, news travel slowly: deposed owners are asked. */
export function withMovingOwners(settings: Settings): Settings {
  return {
    ...settings,
    coordinatorCount: 2,
    workerCount: 3,
    proxyCount: 3,
    logChannelCount: 3,
    directoryLagMsMax: 400,
    readersOnly: 0.6,
    pauseMsMax: 30,
    limits: { ...settings.limits, backgroundIntervalMs: 2000 },
    everyMs: { ...settings.everyMs, moveLogChannel: 50, crashWorker: Number.POSITIVE_INFINITY },
  }
}

/** Tables are emptied all the time, beside transactions over several log channels whose records take long to be durable. */
export function withEmptying(settings: Settings): Settings {
  return {
    ...settings,
    logChannelCount: 4,
    shardCount: 3,
    sessionsPerProxy: 3,
    networkDelayMsMax: 2,
    storeDelayMsMax: 10,
    pauseMsMax: 10,
    readersOnly: 0,
    operations: { truncate: 8, replaceTable: 1, look: 4, note: 2, draft: 1, maintain: 1 },
  }
}

/** Segments are merged, indexed and written down all the time, beside deletes; whether it is recorded is often not said. */
export function withUpkeep(settings: Settings): Settings {
  return {
    ...settings,
    logChannelCount: 2,
    shardCount: 1,
    proxyCount: 2,
    sessionsPerProxy: 3,
    isRestarted: true,
    // Until there are segments to merge.
    troubleMs: 3 * settings.troubleMs,
    storeDelayMsMax: Math.min(settings.storeDelayMsMax, 2),
    storeRefused: 0,
    storeDoneUnknown: Math.max(settings.storeDoneUnknown, 0.01),
    storeGoneAfterUnknown: 0.3,
    pauseMsMax: 5,
    readersOnly: 0,
    limits: {
      ...settings.limits,
      segmentBytesMax: 600,
      sealIdleMs: 30,
      sealIdleRowCountMin: 1,
      smallSegmentCountMax: 2,
      deletedPartMax: 0.1,
      logBytesMax: 2000,
      backgroundIntervalMs: 10,
    },
    everyMs: {
      ...settings.everyMs,
      storeAway: Number.POSITIVE_INFINITY,
      partition: Number.POSITIVE_INFINITY,
    },
    operations: { maintain: 3, vacuum: 4, note: 6, transfer: 4, draft: 1, look: 2 },
  }
}

export type ShapeName = keyof typeof shapes

export const shapes = {
  any: (settings: Settings): Settings => settings,
  movingOwners: withMovingOwners,
  emptying: withEmptying,
  upkeep: withUpkeep,
}

/** Not everything at once: a fault that is absent lets others show (swarm testing, Groce et al. 2012). */
export function settingsFrom(random: Random): Settings {
  const settings = anySettings(random)
  return shapes[random.choose<ShapeName>({ any: 80, movingOwners: 8, emptying: 7, upkeep: 5 })](
    settings,
  )
}

function anySettings(random: Random): Settings {
  const sometimes = (probability: number, value: () => number): number =>
    random.chance(probability) ? value() : 0
  const every = (probability: number, from: number, to: number): number =>
    random.chance(probability) ? random.between(from, to) : Number.POSITIVE_INFINITY
  const weight = (usual: number): number => sometimes(0.8, () => usual)
  const isCluster = random.chance(0.75)
  return {
    logChannelCount: random.chance(0.2) ? 1 : 2 + random.below(3),
    coordinatorCount: isCluster ? 1 + random.below(3) : 0,
    election: random.chance(0.5) ? 'ordered' : 'leased',
    leaderLeaseMs: random.pick([60, 200]),
    workerCount: isCluster ? 1 + random.below(4) : 0,
    queryCount: isCluster ? random.pick([0, 0, 2, 3]) : 0,
    replicaCount: 1 + random.below(2),
    shardCount: 1 + random.below(3),
    proxyCount: 1 + random.below(3),
    sessionsPerProxy: 1 + random.below(3),
    limits: {
      segmentBytesMax: random.pick([600, 1500, 6000]),
      sealIdleMs: random.pick([30, 200]),
      sealIdleRowCountMin: random.pick([1, 20]),
      logBytesMax: random.pick([2000, 10_000, 100_000]),
      retentionMs: 5000,
      smallSegmentCountMax: 2 + random.below(3),
      orphanGraceMs: 1500,
      undecidedMs: random.pick([20, 100, 500]),
      deletedPartMax: random.pick([0.1, 0.3]),
      backgroundIntervalMs: random.pick([10, 30, 100, 2000]),
    },
    growingBytes: random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 8000, 16_000]),
    sealedBytes: random.pick([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 1000, 6000]),
    troubleMs: random.between(300, 700),
    directoryLagMsMax: random.pick([2, 60, 400]),
    everyMs: {
      crashServer: every(0.6, 80, 400),
      crashCoordinator: every(0.4, 80, 400),
      crashQuery: every(0.5, 60, 300),
      crashWorker: every(0.5, 60, 300),
      elect: every(0.4, 150, 600),
      moveLogChannel: every(0.5, 40, 250),
      crashProxy: every(0.4, 100, 500),
      partition: every(0.5, 50, 300),
      storeAway: every(0.4, 50, 300),
      clockStep: every(0.3, 50, 300),
    },
    networkLoss: sometimes(0.5, () => random.between(0, 0.03)),
    networkDuplicate: sometimes(0.5, () => random.between(0, 0.05)),
    networkSlow: sometimes(0.5, () => random.between(0, 0.03)),
    networkDelayMsMax: random.pick([0.5, 2, 6]),
    storeRefused: sometimes(0.5, () => random.between(0, 0.02)),
    storeLost: sometimes(0.5, () => random.between(0, 0.01)),
    storeDoneUnknown: sometimes(0.5, () => random.between(0, 0.01)),
    storeGoneAfterUnknown: sometimes(0.3, () => 0.5),
    storeDelayMsMax: random.pick([0.3, 2, 10]),
    clockSkewMsMax: sometimes(0.5, () => random.between(0, 3000)),
    clockDriftMax: sometimes(0.5, () => random.between(0, 0.05)),
    operations: {
      transfer: weight(8),
      rename: weight(6),
      family: weight(6),
      copyIn: weight(2),
      truncate: sometimes(0.5, () => 2),
      draft: weight(3),
      replaceTable: sometimes(0.3, () => 1),
      note: weight(4),
      look: 4,
      search: weight(2),
      addColumn: sometimes(0.4, () => 1),
      maintain: weight(2),
      vacuum: sometimes(0.5, () => 1),
    },
    pauseMsMax: random.pick([2, 10, 40, 120]),
    readersOnly: random.chance(0.3) ? 0.7 : 0,
    isRestarted: random.chance(0.25),
  }
}
