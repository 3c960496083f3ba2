/**
 * The processes of the simulated cluster: started, killed, started again; who leads and who owns what; how they reach each
 * other. The orders (lead, own) come from nowhere here: in a real cluster the coordinator gives them.
 *
 *   standalone   one server with everything but proxies; nobody else may be coordinator or owner
 *   cluster      coordinators, of which the newest leads; workers with a query and a data node, which own log channels
 */
import {
  DatabaseError,
  InvariantError,
  SqlState,
  StoreError,
  UnreachableError,
} from '#base/errors.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { followLeader } from '#nodes/coordinator/follow-leader.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import {
  type DistributedStreaming,
  openDistributedStreaming,
} from '#nodes/proxy/distribute/distributed-streaming.js'
import type { QueryReplica } from '#nodes/query/contract.js'
import { openPlacedQueryNodes, type PlacedQueryNodes } from '#nodes/query/placed-query-nodes.js'
import { logChannelOf, type StreamingNode } from '#nodes/streaming/contract.js'
import { NotOwnerError } from '#nodes/streaming/ownership.js'
import { Directory } from './directory.js'
import { type Address, Network } from './network.js'
import {
  lead,
  openPlace,
  own,
  type Place,
  type Surroundings,
  stand,
  startData,
  startQuery,
} from './places.js'
import { SimProcess } from './process.js'
import type { Random } from './random.js'
import { remoteCoordinator } from './remote-coordinator.js'
import type { Settings } from './settings.js'
import { Disks } from './stores.js'
import { coordinatorTravels, queryTravels, streamingTravels } from './travels.js'
import type { World } from './world.js'

export interface ProxyPlace {
  readonly process: SimProcess
  readonly streaming: DistributedStreaming
}

type Kind = 'server' | 'coordinator' | 'worker' | 'query' | 'proxy'

interface Worker extends Place {
  /** Query nodes in other processes; undefined: it has one of its own. */
  readonly placed: PlacedQueryNodes | undefined
  readonly surroundings: Surroundings
  /** Log channels that it owns, or (undefined) is about to. */
  readonly owned: Map<string, StreamingNode | undefined>
}

const restartMsMax = 60

export class Cluster {
  readonly world: World
  readonly settings: Settings
  readonly network: Network
  readonly directory: Directory
  readonly disks: Disks
  onProxy: (proxy: ProxyPlace) => void = () => {}
  readonly #random: Random
  readonly #processes = new Map<string, SimProcess>()
  readonly #coordinators = new Map<string, Place>()
  readonly #workers = new Map<string, Worker>()
  /** Is about to lead. */
  #candidate: SimProcess | undefined
  #leaderCount = 0
  readonly #candidates = new Map<string, Address<Coordinator>>()
  readonly #queryNodes = new Map<string, Address<QueryReplica>>()

  constructor(world: World, settings: Settings) {
    this.world = world
    this.settings = settings
    this.disks = new Disks(world)
    this.network = new Network(world)
    this.directory = new Directory(world, settings.directoryLagMsMax)
    this.#random = world.random.fork()
  }

  get logChannels(): readonly string[] {
    return Array.from({ length: this.settings.logChannelCount }, (_, n) => `log-${n}`)
  }

  names(...kinds: readonly Kind[]): readonly string[] {
    const names = [...this.#processes.keys()]
    return kinds.length === 0 ? names : names.filter((name) => kinds.includes(kindOf(name)))
  }

  logChannelOf(tableId: number, shard: number): string {
    return logChannelOf(tableId, shard, this.settings.logChannelCount)
  }

  start(): void {
    const { coordinatorCount, workerCount, queryCount, proxyCount } = this.settings
    if (coordinatorCount === 0) this.#boot('server')
    for (let n = 0; n < queryCount; n += 1) this.#boot(`query-${n}`)
    for (let n = 0; n < coordinatorCount; n += 1) this.#boot(`coordinator-${n}`)
    if (coordinatorCount > 0) {
      for (let n = 0; n < workerCount; n += 1) this.#boot(`worker-${n}`)
      for (const logChannel of this.logChannels) this.#assign(logChannel)
    }
    for (let n = 0; n < proxyCount; n += 1) this.#boot(`proxy-${n}`)
  }

  /** @returns false when there is nobody of the kind alive */
  crash(kind: Kind): boolean {
    const alive = this.names(kind).filter((name) => this.#processes.get(name)?.alive)
    if (alive.length === 0) return false
    this.#kill(this.#random.pick(alive))
    return true
  }

  /** Whoever owns log channels dies, all at once. */
  restartOwners(): void {
    for (const name of this.names('server', 'worker')) this.#kill(name)
    this.world.count('owners restarted')
  }

  /** Somebody else leads, while the one before may be alive. */
  elect(): void {
    if (this.settings.coordinatorCount === 0) return
    if (this.settings.election === 'leased') {
      // As when its lease ends while it does not notice.
      this.disks.meta.apply([], [{ kind: 'delete', key: metaKeys.leader }])
      return
    }
    if (this.#candidate?.alive === true) return
    const alive = [...this.#coordinators.values()].filter(({ process }) => process.alive)
    if (alive.length === 0) return
    const place = this.#random.pick(alive)
    this.#candidate = place.process
    this.#carryOut(place.process, lead(place, 'elected'), {
      done: (target) => {
        this.#candidate = undefined
        this.world.count('leader elected')
        this.world.say(place.process.name, 'leads')
        this.#leaderCount += 1
        this.directory.publish('coordinator', this.#leaderCount, { process: place.process, target })
      },
      failed: () => {
        this.#candidate = undefined
        this.world.after(10, 'elect', () => this.elect())
      },
    })
  }

  /** Another worker owns the log channel, while the one before may be alive. */
  moveLogChannel(): void {
    if (this.#workers.size < 2) return
    this.#assign(this.#random.pick(this.logChannels))
  }

  stepClock(): void {
    const process = this.#processes.get(this.#random.pick(this.names()))
    if (process === undefined) return
    process.clock.skewMs += this.#random.between(-500, 500)
    this.world.count('clock stepped')
  }

  #boot(name: string): void {
    const { clockSkewMsMax, clockDriftMax } = this.settings
    const process = new SimProcess(this.world, name, {
      skewMs: this.#random.between(-clockSkewMsMax, clockSkewMsMax),
      drift: 1 + this.#random.between(-clockDriftMax, clockDriftMax),
    })
    this.#processes.set(name, process)
    switch (kindOf(name)) {
      case 'server':
        this.#bootServer(process)
        return
      case 'coordinator':
        this.#coordinators.set(name, openPlace(process, this.disks, this.settings))
        if (this.settings.election === 'leased') {
          this.#bootCandidate(name)
          return
        }
        if (this.directory.newest('coordinator')?.process.alive !== true) this.elect()
        return
      case 'worker':
        this.#bootWorker(process)
        return
      case 'query':
        this.#bootQuery(process)
        return
      case 'proxy':
        this.#bootProxy(process)
        return
    }
  }

  #kill(name: string): void {
    const process = this.#processes.get(name)
    if (process?.alive !== true) return
    const kind = kindOf(name)
    this.world.say(name, 'is killed')
    this.world.count(`${kind} killed`)
    const candidate = this.#candidate
    process.kill()
    const restartMs = this.#random.between(1, restartMsMax)
    this.world.after(restartMs, 'boot', () => this.#boot(name))
    if (kind === 'coordinator' && this.settings.election === 'ordered') {
      this.world.after(this.#random.between(1, 30), 'elect', () => {
        // One that died while it was about to lead may have deposed the one before.
        if (this.directory.newest('coordinator')?.process.alive !== true || process === candidate)
          this.elect()
      })
    }
    for (const logChannel of this.#workers.get(name)?.owned.keys() ?? []) {
      this.world.after(this.#random.between(1, 30), 'assign', () => this.#assign(logChannel))
    }
    this.#workers.delete(name)
  }

  #bootServer(process: SimProcess): void {
    const start = async (): Promise<void> => {
      const place = openPlace(process, this.disks, this.settings)
      const coordinator = await lead(place, 'exclusive')
      const nodes = new Map<string, StreamingNode>()
      const surroundings = {
        coordinator,
        queryNode: startQuery(place),
        dataNode: await startData(place),
        peers: (logChannel: string) => nodes.get(logChannel),
      }
      for (const logChannel of this.logChannels) {
        nodes.set(
          logChannel,
          await own(place, logChannel, surroundings, this.settings, 'exclusive', () => {}),
        )
      }
      this.#leaderCount += 1
      this.directory.publish('coordinator', this.#leaderCount, { process, target: coordinator })
      for (const [logChannel, target] of nodes)
        this.directory.publish(logChannel, await target.term(), { process, target })
    }
    this.#carryOut(process, start(), {
      done: () => {
        this.world.count('server started')
        this.world.say('server', 'has started')
      },
      failed: () => this.#kill('server'),
    })
  }

  #bootCandidate(name: string): void {
    const place = this.#coordinators.get(name)
    if (place === undefined) return
    const target = stand(place, this.settings.leaderLeaseMs)
    this.#candidates.set(name, { process: place.process, target })
  }

  /** As the process reaches it. */
  #coordinatorFor(process: SimProcess): Coordinator {
    const { coordinatorCount, election } = this.settings
    if (coordinatorCount === 0 || election === 'ordered') {
      return remoteCoordinator(process, this.network, this.directory)
    }
    const coordinators = Array.from({ length: coordinatorCount }, (_, n) => {
      const name = `coordinator-${n}`
      const address = (): Address<Coordinator> | undefined => this.#candidates.get(name)
      return this.network.connect(process, name, address, coordinatorTravels)
    })
    return followLeader({ coordinators, runtime: process.runtime, patienceMs: 2000 })
  }

  #bootQuery(process: SimProcess): void {
    const target = startQuery(openPlace(process, this.disks, this.settings))
    this.#queryNodes.set(process.name, { process, target })
    for (const worker of this.#workers.values()) this.#introduce(worker, process.name)
  }

  /** A worker hears of a query node: another life of it knows nothing. */
  #introduce({ process, placed }: Worker, name: string): void {
    const address = this.#queryNodes.get(name)
    if (placed === undefined || address === undefined) return
    const stub = this.network.connect<QueryReplica>(process, name, () => address, queryTravels)
    this.world.after(this.#random.between(0, 20), 'introduce', () => {
      if (process.alive && this.#queryNodes.get(name) === address) placed.putNode(name, stub)
    })
  }

  #bootWorker(process: SimProcess): void {
    const place = openPlace(process, this.disks, this.settings)
    const coordinator = this.#coordinatorFor(process)
    this.#carryOut(process, startData(place), {
      done: (dataNode) => {
        const peers = this.#streamingNodes(process)
        const { queryCount, replicaCount } = this.settings
        const placed =
          queryCount === 0
            ? undefined
            : openPlacedQueryNodes({ runtime: process.runtime, replicaCount, patienceMs: 3000 })
        const surroundings = {
          coordinator,
          queryNode: placed ?? startQuery(place),
          dataNode,
          peers: (logChannel: string) => peers.get(logChannel),
        }
        const worker = { ...place, surroundings, placed, owned: new Map() }
        this.#workers.set(process.name, worker)
        for (const name of this.#queryNodes.keys()) this.#introduce(worker, name)
      },
      failed: () => this.#kill(process.name),
    })
  }

  #assign(logChannel: string): void {
    const alive = [...this.#workers.values()].filter(
      (candidate) => candidate.process.alive && !candidate.owned.has(logChannel),
    )
    if (alive.length === 0) {
      // One that failed may have opened it anew since somebody else was its owner.
      if (this.#isOwned(logChannel)) this.#announce(logChannel)
      else this.world.after(5, 'assign', () => this.#assign(logChannel))
      return
    }
    const worker = this.#random.pick(alive)
    const { process, surroundings } = worker
    worker.owned.set(logChannel, undefined)
    this.world.say(process.name, `is to own ${logChannel}`)
    const again = (): void => {
      worker.owned.delete(logChannel)
      this.world.after(this.#random.between(1, 20), 'assign', () => {
        if (this.#isOwned(logChannel)) this.#announce(logChannel)
        else this.#assign(logChannel)
      })
    }
    const onFailure = (error: unknown): void => {
      if (error instanceof NotOwnerError) again()
    }
    const owning = own(worker, logChannel, surroundings, this.settings, 'leased', onFailure)
    this.#carryOut(
      process,
      owning.then(async (target) => ({ target, term: await target.term() })),
      {
        done: ({ target, term }) => {
          if (!worker.owned.has(logChannel)) return
          worker.owned.set(logChannel, target)
          this.world.count('log channel taken')
          this.world.say(process.name, `owns ${logChannel}`)
          this.directory.publish(logChannel, term, { process, target })
        },
        failed: again,
      },
    )
  }

  /** One that opened it anew after a failure may own it again. */
  #announce(logChannel: string): void {
    for (const worker of this.#workers.values()) this.#announceOf(worker, logChannel)
  }

  /** Each asks again for itself: once for all, two that fail would be four the next time. */
  #announceOf(worker: Worker, logChannel: string): void {
    const { process, owned } = worker
    const target = owned.get(logChannel)
    if (!process.alive || target === undefined) return
    process
      .while(target.term())
      .then((term) => this.directory.publish(logChannel, term, { process, target }))
      .catch(() => {
        this.world.after(20, 'assign', () => this.#announceOf(worker, logChannel))
      })
  }

  /** Or somebody is about to. */
  #isOwned(logChannel: string): boolean {
    return [...this.#workers.values()].some(
      ({ process, owned }) => process.alive && owned.has(logChannel),
    )
  }

  #bootProxy(process: SimProcess): void {
    const nodes = this.#streamingNodes(process)
    const oracle: Pick<Coordinator, 'timestamp'> = this.#coordinatorFor(process)
    const distributed = openDistributedStreaming({
      nodes,
      logChannelOf: (tableId, shard) => this.logChannelOf(tableId, shard),
      oracle,
      runtime: process.runtime,
    })
    // With a single log channel it asks the node in its own process.
    const streaming = { ...distributed, strongTimestamp: () => oracle.timestamp() }
    this.onProxy({ process, streaming: this.world.bug.facade?.(streaming) ?? streaming })
  }

  /** By log channel, wherever they are. */
  #streamingNodes(process: SimProcess): ReadonlyMap<string, StreamingNode> {
    const nodes = new Map<string, StreamingNode>()
    for (const logChannel of this.logChannels) {
      const address = (): Address<StreamingNode> | undefined =>
        this.directory.lookUp(process.name, logChannel) as Address<StreamingNode> | undefined
      nodes.set(logChannel, this.network.connect(process, logChannel, address, streamingTravels))
    }
    return nodes
  }

  #carryOut<T>(
    process: SimProcess,
    work: Promise<T>,
    then: { readonly done: (value: T) => void; readonly failed: () => void },
  ): void {
    process
      .while(work)
      .then(then.done)
      .catch((error: unknown) => {
        if (!mayHappen(error)) this.world.fail(error)
        this.world.say(process.name, `could not: ${String(error)}`)
        this.world.count('order failed')
        then.failed()
      })
  }
}

function kindOf(name: string): Kind {
  return name.split('-')[0] as Kind
}

/** Of an order, under faults. */
function mayHappen(error: unknown): boolean {
  if (error instanceof InvariantError) return false
  if (error instanceof StoreError || error instanceof UnreachableError) return true
  if (!(error instanceof DatabaseError)) return false
  return error.sqlState === SqlState.adminShutdown || error.sqlState === SqlState.cannotConnectNow
}
