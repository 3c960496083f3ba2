/** The processes of the simulated cluster: started, killed, started again; and how they reach each other. */
import type { Coordinator } from '#nodes/coordinator/contract.js'
import {
  type DistributedStreaming,
  openDistributedStreaming,
} from '#nodes/proxy/distribute/distributed-streaming.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import { type Address, Network } from './network.js'
import { SimProcess } from './process.js'
import type { Random } from './random.js'
import { type Server, startServer } from './server.js'
import type { Settings } from './settings.js'
import { Disks } from './stores.js'
import { oracleTravels, streamingTravels } from './travels.js'
import type { World } from './world.js'

export interface ProxyPlace {
  readonly process: SimProcess
  readonly streaming: DistributedStreaming
}

const restartMsMax = 60

export class Cluster {
  readonly world: World
  readonly settings: Settings
  readonly network: Network
  readonly disks = new Disks()
  readonly #random: Random
  #server: Server | undefined
  #serverProcess: SimProcess | undefined
  readonly #proxies = new Map<string, SimProcess>()
  onProxy: (proxy: ProxyPlace) => void = () => {}

  constructor(world: World, settings: Settings) {
    this.world = world
    this.settings = settings
    this.network = new Network(world)
    this.#random = world.random.fork()
  }

  get processNames(): readonly string[] {
    return ['server', ...this.#proxies.keys()]
  }

  logChannelOf(tableId: number, shard: number): string {
    return `log-${(tableId + shard) % this.settings.logChannelCount}`
  }

  start(): void {
    this.#bootServer()
    for (let n = 0; n < this.settings.proxyCount; n += 1) this.bootProxy(`proxy-${n}`)
  }

  #spawn(name: string): SimProcess {
    const { clockSkewMsMax, clockDriftMax } = this.settings
    const skewMs = this.#random.between(-clockSkewMsMax, clockSkewMsMax)
    const drift = 1 + this.#random.between(-clockDriftMax, clockDriftMax)
    return new SimProcess(this.world, name, { skewMs, drift })
  }

  #bootServer(): void {
    const process = this.#spawn('server')
    this.#serverProcess = process
    const { world } = this
    process
      .while(startServer(process, this.disks, this.settings))
      .then((server) => {
        this.#server = server
        world.count('server started')
        world.say('server', 'has started')
      })
      .catch((error: unknown) => {
        if (!isOfStore(error)) world.fail(error)
        world.say('server', `could not start: ${String(error)}`)
        this.crashServer()
      })
  }

  crashServer(): void {
    if (this.#serverProcess?.alive !== true) return
    this.world.say('server', 'is killed')
    this.world.count('server killed')
    this.#server = undefined
    this.#serverProcess.kill()
    this.world.after(this.#random.between(1, restartMsMax), 'boot', () => this.#bootServer())
  }

  bootProxy(name: string): void {
    const process = this.#spawn(name)
    this.#proxies.set(name, process)
    const nodes = new Map<string, StreamingNode>()
    for (let n = 0; n < this.settings.logChannelCount; n += 1) {
      const logChannel = `log-${n}`
      nodes.set(
        logChannel,
        this.network.connect(
          process,
          logChannel,
          () => this.#ownerOf(logChannel),
          streamingTravels,
        ),
      )
    }
    const oracle = this.network.connect(process, 'oracle', () => this.#coordinator(), oracleTravels)
    const distributed = openDistributedStreaming({
      nodes,
      logChannelOf: (tableId, shard) => this.logChannelOf(tableId, shard),
      oracle,
      runtime: process.runtime,
    })
    // With a single log channel it asks the node in its own process.
    const streaming = { ...distributed, strongTimestamp: () => oracle.timestamp() }
    this.onProxy({ process, streaming })
  }

  crashProxy(name: string): void {
    const process = this.#proxies.get(name)
    if (process?.alive !== true) return
    this.world.say(name, 'is killed')
    this.world.count('proxy killed')
    process.kill()
    this.world.after(this.#random.between(1, restartMsMax), 'boot', () => this.bootProxy(name))
  }

  stepClock(): void {
    const process = this.#serverProcess
    if (process === undefined) return
    process.clock.skewMs += this.#random.between(-500, 500)
    this.world.count('clock stepped')
  }

  #ownerOf(logChannel: string): Address<StreamingNode> | undefined {
    const server = this.#server
    const target = server?.streaming.get(logChannel)
    return server === undefined || target === undefined
      ? undefined
      : { process: server.process, target }
  }

  #coordinator(): Address<Pick<Coordinator, 'timestamp'>> | undefined {
    const server = this.#server
    return server === undefined
      ? undefined
      : { process: server.process, target: server.coordinator }
  }
}

function isOfStore(error: unknown): boolean {
  return error instanceof Error && (error.name === 'StoreError' || error.name === 'DatabaseError')
}
