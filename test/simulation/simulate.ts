/**
 * One seed: a cluster under trouble while clients work, then peace, in which everything must become available again and be
 * what the model says.
 */
import nodeProcess from 'node:process'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { Bug } from './bugs.js'
import { Cluster, type ProxyPlace } from './cluster.js'
import { Model } from './model.js'
import { type OperationName, perform } from './operations.js'
import { checkSnapshot } from './reads.js'
import { type Catalog, Session } from './session.js'
import { type Settings, settingsFrom } from './settings.js'
import { draftsIdFirst, tablesOf } from './tables.js'
import { startTrouble } from './trouble.js'
import { newForm, openAccounts, withCatalog } from './workload.js'
import { World } from './world.js'

export interface SeedResult {
  readonly seed: number
  readonly violation: Error | undefined
  readonly hash: string
  readonly counts: ReadonlyMap<string, number>
  readonly tail: readonly string[]
  readonly eventCount: number
}

/** When faults have stopped, everything must be back within this time. */
const recoveryMs = 60_000

export async function simulate(
  seed: number,
  bug?: Bug,
  print?: (line: string) => void,
): Promise<SeedResult> {
  const world = new World(seed, bug, print)
  const chosen = settingsFrom(world.random.fork())
  const settings = world.bug.settings?.(chosen) ?? chosen
  const run = new Run(world, settings)
  const takeBack = world.bug.plant?.()
  run.start()
  const onUnhandled = (reason: unknown): void => world.fail(reason)
  nodeProcess.on('unhandledRejection', onUnhandled)
  try {
    await world.run(settings.troubleMs + 2 * recoveryMs)
    if (!run.isDone)
      world.violate(
        'LIVE-1',
        `not everything is back ${recoveryMs} ms after the faults have stopped: ${run.phase}`,
      )
  } catch {
    // In world.violation.
  }
  // Node tells of rejections that nobody handles between turns of the event loop.
  await new Promise((resolve) => setImmediate(resolve))
  nodeProcess.off('unhandledRejection', onUnhandled)
  takeBack?.()
  return {
    seed,
    violation: world.violation,
    hash: world.trace.hash,
    counts: world.trace.counts,
    tail: world.trace.tail(),
    eventCount: world.trace.eventCount,
  }
}

const reading: Settings['operations'] = { look: 3, search: 1 }

class Run {
  readonly #world: World
  readonly #settings: Settings
  readonly #cluster: Cluster
  readonly #model: Model
  readonly #catalog: Catalog
  readonly #sessions = new Set<Session>()
  #isTrouble = true
  isDone = false
  phase = 'opening'

  constructor(world: World, settings: Settings) {
    this.#world = world
    this.#settings = settings
    this.#cluster = new Cluster(world, settings)
    this.#model = new Model(world)
    const tables = tablesOf(settings.shardCount)
    this.#catalog = {
      tables: new Map(tables.map((schema) => [schema.tableId, schema])),
      dropped: new Map(),
      draftsId: draftsIdFirst,
      newestTableId: draftsIdFirst,
      holder: undefined,
      form: 1,
      logChannelOf: (tableId, shard) => this.#cluster.logChannelOf(tableId, shard),
    }
  }

  start(): void {
    let isFirst = true
    this.#cluster.onProxy = (proxy) => {
      if (isFirst) {
        isFirst = false
        this.#world.spawn(this.#open(proxy))
      } else if (this.phase !== 'opening') void this.#attach(proxy)
      else this.#waiting.push(proxy)
    }
    this.#cluster.start()
  }
  readonly #waiting: ProxyPlace[] = []

  /** Tables and accounts, before there is any trouble. */
  async #open(proxy: ProxyPlace): Promise<void> {
    const session = this.#session(proxy, 'opening')
    await this.#insist(() => this.#tellTables(proxy))
    await openAccounts(session)
    this.phase = 'trouble'
    await Promise.all([proxy, ...this.#waiting.splice(0)].map((each) => this.#attach(each)))
    const stop = startTrouble(this.#cluster)
    await this.#world.sleep(this.#settings.troubleMs)
    this.#isTrouble = false
    this.phase = 'recovery'
    this.#world.say('world', 'peace')
    stop()
    await this.#recovered()
    this.isDone = true
    this.#world.stop()
  }

  #attach(proxy: ProxyPlace): Promise<void> {
    const begun = this.#begin(proxy)
    this.#world.spawn(begun)
    return begun
  }

  async #tellTables({ process, streaming }: ProxyPlace): Promise<void> {
    await withCatalog(this.#catalog, process, async () => {
      for (const schema of this.#catalog.tables.values()) {
        await streaming.putTable(newForm(this.#catalog, schema))
      }
    })
  }

  /** A proxy learns of the tables when it starts. */
  async #begin(proxy: ProxyPlace): Promise<void> {
    await this.#insist(() => this.#tellTables(proxy))
    for (let n = 0; n < this.#settings.sessionsPerProxy; n += 1) {
      const session = this.#session(proxy, `${proxy.process.name}.${n}`)
      this.#world.spawn(this.#work(session))
    }
  }

  #session({ process, streaming }: ProxyPlace, name: string): Session {
    const random = this.#world.random.fork()
    const session = new Session({
      name,
      world: this.#world,
      process,
      streaming,
      model: this.#model,
      catalog: this.#catalog,
      random,
    })
    this.#sessions.add(session)
    process.onDeath(() => this.#sessions.delete(session))
    return session
  }

  async #work(session: Session): Promise<void> {
    const { process, random } = session
    const isReader = random.chance(this.#settings.readersOnly)
    const operations = isReader ? reading : this.#settings.operations
    while (this.#isTrouble && process.alive) {
      await perform(session, random.choose(operations) as OperationName)
      await process.runtime.sleep(random.next() * this.#settings.pauseMsMax)
    }
  }

  async #insist(work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await work()
        return
      } catch {
        await this.#world.sleep(5)
      }
    }
  }

  /** LIVE-1, and everything that was acknowledged is there, once. */
  async #recovered(): Promise<void> {
    const world = this.#world
    // Now and then long enough for garbage to be collected.
    await world.sleep(world.random.chance(0.08) ? 4000 : 100)
    const session = await this.#aliveSession()
    // A process may have died while it changed a table.
    const { process, streaming } = session
    await this.#insist(() => this.#tellTables({ process, streaming }))
    for (const operation of [
      'transfer',
      'rename',
      'family',
      'copyIn',
      'note',
      'maintain',
      'search',
    ] as const) {
      this.phase = `recovery: ${operation}`
      while (!(await perform(session, operation))) await world.sleep(20)
    }
    this.phase = 'recovery: reading everything'
    let readAt: Timestamp | undefined
    for (let round = 0; round < 2; round += 1) {
      for (;;) {
        readAt = await this.#readAll(session)
        if (readAt !== undefined || world.violation !== undefined) break
        await world.sleep(20)
      }
    }
    if (this.#settings.isRestarted) {
      this.phase = 'recovery: after a restart'
      this.#cluster.restartOwners()
      await world.sleep(20)
      while ((await this.#readAll(session)) === undefined && world.violation === undefined)
        await world.sleep(20)
    }
    this.phase = 'recovery: counting rows'
    // What was deleted is under way to some counts, what has expired to its deletion.
    while (!(await this.#isCounted(session))) await world.sleep(20)
    world.say('world', 'done')
  }

  async #readAll(session: Session): Promise<Timestamp | undefined> {
    try {
      const readAt = await session.strongTimestamp()
      const tables = await session.snapshot([...this.#catalog.tables.keys()], readAt)
      checkSnapshot(session, tables, readAt)
      return readAt
    } catch (error) {
      this.#world.say('world', `cannot read: ${String(error)}`)
      return undefined
    }
  }

  /** What a table is said to have is what is read of it. */
  async #isCounted(session: Session): Promise<boolean> {
    try {
      const readAt = await session.strongTimestamp()
      const seen = await session.snapshot([...this.#catalog.tables.keys()], readAt)
      for (const [tableId, rows] of seen) {
        const liveRows = await this.#countOf(session, tableId)
        if (liveRows === undefined || liveRows === rows.length) continue
        const said = `table ${tableId} is said to have ${liveRows} rows, ${rows.length} are read`
        this.#world.say('world', said)
        return false
      }
      return true
    } catch (error) {
      this.#world.say('world', `cannot count: ${String(error)}`)
      return false
    }
  }

  /** undefined: whoever made the table died before every log channel knew of it, also of those that have no shard of it. */
  async #countOf({ streaming }: Session, tableId: number): Promise<number | undefined> {
    try {
      return (await streaming.statistics(tableId)).liveRows
    } catch (error) {
      const isUnknown = error instanceof DatabaseError && error.sqlState === SqlState.undefinedTable
      if (isUnknown) return undefined
      throw error
    }
  }

  async #aliveSession(): Promise<Session> {
    for (;;) {
      for (const session of this.#sessions) if (session.process.alive) return session
      await this.#world.sleep(5)
    }
  }
}
