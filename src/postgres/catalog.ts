/**
 * The catalog instance: schema, Describe, EXPLAIN, catalog queries, DDL. Lost (cancelled, crashed), it is replaced by one
 * that replays the log; callers wait.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { buildCatalog } from '#postgres/build-catalog.js'
import { firstUserOid } from '#postgres/catalog-queries.js'
import type {
  CatalogSnapshot,
  DdlEntry,
  Description,
  Evaluation,
  EvaluationResult,
  PlanNode,
  Postgres,
  SessionSettings,
  Statement,
} from '#postgres/contract.js'
import type { Instance } from '#postgres/instance.js'
import { InstanceReplaced, instanceLost } from '#postgres/instance-lost.js'
import { ddlEntrySettings, ddlSteps, evaluateJob, jobSettings } from '#postgres/make-jobs.js'
import { refuseUnsafe, singleStatement } from '#postgres/refuse.js'
import { runCancellable } from '#postgres/run-cancellable.js'
import type { InstanceStarter } from '#postgres/start-instance.js'
import { prepareDdl } from '#postgres/table-options.js'

// A neighbour that cancels all the time must not keep the others waiting for ever.
const attemptCountMax = 20

/** What computes for long does not run here. The next instance takes half a second, and 6 ms for each DDL statement since the image. */
const cancelGraceMs = 1000

export class Catalog {
  readonly #starter: InstanceStarter
  /** Entries applied; the version is their number. */
  readonly #log: DdlEntry[]
  #instance: Promise<Instance> | undefined
  #nextOid = firstUserOid
  #snapshot: CatalogSnapshot | undefined
  #closed = false
  #tried:
    | {
        readonly base: number
        readonly entries: readonly DdlEntry[]
        readonly catalog: CatalogSnapshot
      }
    | undefined

  constructor(starter: InstanceStarter, log: readonly DdlEntry[]) {
    this.#starter = starter
    this.#log = [...log]
  }

  async start(): Promise<void> {
    await this.#open()
  }

  snapshot(): CatalogSnapshot {
    if (this.#snapshot === undefined) throw new Error('catalog was not started')
    return this.#snapshot
  }

  /** The entries applied so far. Not to be changed; grows. */
  get log(): readonly DdlEntry[] {
    return this.#log
  }

  async describe(
    statement: Statement,
    settings: SessionSettings,
    pendingDdl: readonly DdlEntry[],
  ): Promise<Description> {
    singleStatement(statement.sql)
    return this.#ask((instance) =>
      instance.call({
        kind: 'describe',
        statement,
        settings: jobSettings(settings),
        pendingDdl: ddlSteps(pendingDdl),
      }),
    )
  }

  async explain(
    statement: Statement,
    settings: SessionSettings,
    pendingDdl: readonly DdlEntry[],
  ): Promise<PlanNode> {
    singleStatement(statement.sql)
    const json = await this.#ask((instance) =>
      instance.call({
        kind: 'explain',
        statement,
        settings: jobSettings(settings),
        pendingDdl: ddlSteps(pendingDdl),
      }),
    )
    const [root] = JSON.parse(json) as [{ Plan: PlanNode }]
    return root.Plan
  }

  async query(evaluation: Evaluation, context: Context): Promise<EvaluationResult> {
    refuseUnsafe(evaluation.statement.sql)
    return this.#ask((instance) => {
      checkCancelled(context)
      const job = evaluateJob(evaluation, this.snapshot())
      return runCancellable(instance, job, context, { graceMs: cancelGraceMs })
    })
  }

  async tryDdl(
    sql: string,
    settings: SessionSettings,
    pendingDdl: readonly DdlEntry[],
  ): ReturnType<Postgres['tryDdl']> {
    singleStatement(sql)
    const entrySettings = ddlEntrySettings(settings)
    const step = prepareDdl({ sql, settings: entrySettings })
    const { commandTag, notices, firstOid, catalog } = await this.#ask((instance) =>
      instance.call({
        kind: 'tryDdl',
        pendingDdl: ddlSteps(pendingDdl),
        step,
        nextOid: this.#nextOid,
      }),
    )
    const entry = { sql, firstOid, settings: entrySettings }
    const version = this.#log.length + pendingDdl.length + 1
    const built = buildCatalog(catalog, version, this.#snapshot)
    this.#tried = { base: this.#log.length, entries: [...pendingDdl, entry], catalog: built }
    return { result: { commandTag, notices, entry }, catalog: built }
  }

  async apply(entries: readonly DdlEntry[]): Promise<CatalogSnapshot> {
    const steps = ddlSteps(entries)
    const tried = this.#triedAs(entries)
    const before = this.#snapshot
    const { nextOid, catalog } = await this.#ask((instance) =>
      instance.call({ kind: 'apply', steps, atomic: true, wantsCatalog: tried === undefined }),
    )
    this.#log.push(...entries)
    this.#starter.noteEntries(this.#log)
    this.#nextOid = nextOid
    if (tried !== undefined) this.#snapshot = tried
    else if (catalog !== undefined) this.#snapshot = buildCatalog(catalog, this.#log.length, before)
    return this.snapshot()
  }

  /** Replay is exact: what a try showed is what the catalog is now. */
  #triedAs(entries: readonly DdlEntry[]): CatalogSnapshot | undefined {
    const tried = this.#tried
    const same =
      tried?.base === this.#log.length &&
      tried.entries.length === entries.length &&
      tried.entries.every((entry, i) => {
        const other = entries[i]
        return entry.sql === other?.sql && entry.firstOid === other.firstOid
      })
    return same ? tried.catalog : undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    const instance = await this.#instance?.catch(() => undefined)
    await instance?.terminate()
  }

  /** Of the next instance again when another call has ended this one: nothing stays of what an instance runs. */
  async #ask<T>(question: (instance: Instance) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const instance = await this.#open()
      try {
        return await question(instance)
      } catch (error) {
        if (!(error instanceof InstanceReplaced)) throw error
        if (attempt === attemptCountMax || this.#closed) throw instanceLost(error)
      }
    }
  }

  async #open(): Promise<Instance> {
    const current = await this.#instance?.catch(() => undefined)
    if (current !== undefined && !current.dead) return current
    if (this.#closed) throw new Error('catalog is closed')
    // Several callers may find it dead: the first one replaces it.
    if (current === undefined || this.#replaced !== current) {
      this.#replaced = current
      this.#instance = this.#replay()
    }
    return this.#instance as Promise<Instance>
  }
  #replaced: Instance | undefined

  async #replay(): Promise<Instance> {
    const started = await this.#starter.start('catalog', this.#log)
    const { instance } = started
    if (started.nextOid !== undefined) this.#nextOid = started.nextOid
    // First of all: nobody has asked it anything.
    const taken = this.#starter.takeImage(started, this.#log)
    if (this.#snapshot === undefined) {
      this.#snapshot = buildCatalog(await instance.call({ kind: 'snapshot' }), this.#log.length)
    }
    await taken
    return instance
  }
}
