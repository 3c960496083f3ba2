/**
 * Runs a statement verbatim over loaded rows; everything rolls back.
 *
 *   1. settings of the session; heaps of captured tables empty; loaders in step
 *   2. BEGIN with the session's clock; DDL of its open transaction
 *   3. rows, sequences; addresses of the rows of captured tables
 *   4. the statement as the session's user
 *   5. as superuser: what changed, sequences, relations that were read
 *   6. ROLLBACK; after the answer has gone: VACUUM of what grew (tidy)
 */

import { notSupported } from '#base/errors.js'
import { type CaptureBase, captureBase, captureChange, lockedRows } from '#postgres/capture.js'
import type { EvaluationResult, TableChange } from '#postgres/contract.js'
import type { Embedded } from '#postgres/embedded.js'
import { afterDdl, beforeDdl, keyIndexesOf } from '#postgres/evaluator-schema.js'
import type { EvaluateJob } from '#postgres/jobs.js'
import { Loaders, loadRows } from '#postgres/load-rows.js'
import { runDdlStep } from '#postgres/run-ddl.js'
import { mayComeFromMissingRows, runStatement } from '#postgres/run-statement.js'
import { Sequences } from '#postgres/sequence-state.js'
import { becomeSuperuser, becomeUser, type SettingsState } from '#postgres/session-settings.js'
import type { InstanceKind } from '#postgres/start-options.js'
import { TableNames } from '#postgres/table-names.js'
import type { TrialTraces } from '#postgres/trial-traces.js'

// A heap that only grows makes every scan read dead rows; VACUUM costs about 0.4 ms.
const deadRowCountMax = 5_000
// From here on new files (about 4 ms with what follows) are cheaper than looking at every row.
const vacuumedRowCountMax = 20_000
const bytesOfOneRow = 200
const runCountBetweenCheckpoints = 1_000

const stateOf = (catalog: string, condition = 'true'): string =>
  `(SELECT count(*) || ' ' || coalesce(max(xmin::text::int8), 0) FROM ${catalog} WHERE ${condition})`
const catalogState = `VALUES (concat_ws(',', ${[
  stateOf('pg_class', "relpersistence <> 't'"),
  stateOf('pg_proc'),
  stateOf('pg_type', 'typnamespace <> pg_my_temp_schema()'),
  stateOf('pg_namespace', "nspname !~ '^pg_(toast_)?temp'"),
  stateOf('pg_authid'),
  stateOf('pg_description'),
].join()})), (${stateOf('pg_class', "relpersistence = 't'")})`

export class Evaluations {
  readonly #embedded: Embedded
  readonly #settings: SettingsState
  readonly #loaders: Loaders | undefined
  readonly #sequences: Sequences
  readonly #names: TableNames
  /** Dead rows by table since its last VACUUM; captured ones count as full. */
  readonly #deadRows = new Map<number, number>()
  #runCount = 0
  /** Object identifiers were used and rolled back: it would number later objects differently from other instances. */
  isSpoilt = false
  readonly #traces: TrialTraces

  constructor(
    embedded: Embedded,
    kind: InstanceKind,
    settings: SettingsState,
    traces: TrialTraces,
  ) {
    this.#traces = traces
    this.#names = new TableNames(embedded)
    this.#embedded = embedded
    this.#settings = settings
    this.#loaders = kind === 'evaluator' ? new Loaders(embedded) : undefined
    this.#sequences = new Sequences(embedded)
  }

  /** After DDL was applied. */
  forget(): void {
    this.#loaders?.forget()
    this.#sequences.forget()
    this.#names.forget()
  }

  /** @throws DatabaseError as PostgreSQL raised it */
  run(job: EvaluateJob): EvaluationResult {
    const embedded = this.#embedded
    this.#settings.apply(job.settings)
    this.#prepare(job)
    embedded.hooks.withClock(job.transactionStartMs, () => embedded.run('BEGIN'))
    let result: EvaluationResult | undefined
    try {
      result = this.#inTransaction(job)
    } finally {
      if (job.pendingDdl.length > 0) this.#traces.note(result?.hasFailed !== false)
      embedded.run('ROLLBACK')
      this.#count(job, result?.changes ?? [])
    }
    return { ...result, touchedSequences: this.#movedSequences(job) }
  }

  #movedSequences(job: EvaluateJob): number[] {
    if (this.#loaders === undefined) return []
    const certain = job.sessionSequences.length > 0 || /setval/i.test(job.statement.sql)
    const moved = this.#sequences.moved(job.sequences, certain)
    this.#embedded.run('DISCARD SEQUENCES')
    return moved
  }

  /** When nobody waits. */
  tidy(): void {
    const full = [...this.#deadRows].filter(([, count]) => count >= deadRowCountMax)
    if (full.length > 0) this.#vacuum(full.map(([oid]) => oid))
    if (this.#runCount >= runCountBetweenCheckpoints) {
      this.#runCount = 0
      this.#embedded.run('CHECKPOINT')
    }
  }

  #prepare(job: EvaluateJob): void {
    if (job.pendingDdl.length > 0) {
      this.#traces.clean()
      this.#sequences.forget()
    }
    const loaded = job.loads.filter(({ rowCount }) => rowCount > 0).map(({ tableOid }) => tableOid)
    // Where changes are captured, heaps must be empty (capture.ts); which of them through partitions is not known yet.
    if (job.captureTables.length > 0) this.#vacuum(loaded.filter((oid) => this.#deadRows.has(oid)))
    if (job.pendingDdl.length === 0) this.#loaders?.prepare(loaded)
  }

  #inTransaction(job: EvaluateJob): EvaluationResult {
    const embedded = this.#embedded
    if (job.pendingDdl.length > 0) {
      if (this.#loaders !== undefined) embedded.run(beforeDdl)
      for (const step of job.pendingDdl) runDdlStep(embedded, step)
      if (this.#loaders !== undefined) {
        embedded.run(afterDdl)
        const used = job.loads.filter(({ rowCount }) => rowCount > 0)
        this.#loaders.prepareInTransaction(used.map(({ tableOid }) => tableOid))
      }
    }
    for (const load of job.loads) loadRows(embedded, load)
    if (job.afterLoads !== undefined) embedded.run(job.afterLoads)
    this.#sequences.set(job.sessionSequences, job.sequences)
    const bases = this.#captureBases(job)
    const catalogBefore = job.callsFunctions ? this.#catalogState() : undefined
    const become = becomeUser(job.settings.user, job.settings.role)
    if (become !== '') embedded.run(become)
    embedded.hooks.takeTouchedRelations()
    const answer = runStatement(embedded, job.statement, job.copyData)
    const { read, readWithin, written } = embedded.hooks.takeTouchedRelations()
    const touchedUnloaded = this.#unloaded(job, read, readWithin)
    const { error, ...rest } = answer
    if (error !== undefined && (touchedUnloaded.length === 0 || !mayComeFromMissingRows(error))) {
      throw error
    }
    const looksBehind = error === undefined && (job.reportLocks || job.callsFunctions)
    if (looksBehind && become !== '') embedded.run(becomeSuperuser)
    if (error === undefined && catalogBefore !== undefined) this.#checkCatalog(catalogBefore)
    let sequences = job.sequences
    const changes: TableChange[] = []
    // The executor does not say that ALTER TABLE writes.
    const mayHaveWritten =
      written.length > 0 || bases.some(({ rewritable, loaded }) => rewritable && loaded.length > 0)
    if (error === undefined && (mayHaveWritten || job.sequences.length > 0)) {
      // What is deferred to a commit would never be checked.
      if (written.length > 0) embedded.run('SET CONSTRAINTS ALL IMMEDIATE')
      written.push(...embedded.hooks.takeTouchedRelations().written)
      if (become !== '') embedded.run(becomeSuperuser)
      sequences = this.#sequences.read(job.sequences)
      changes.push(...this.#changes(job, bases, written))
    }
    const locked =
      error === undefined && job.reportLocks
        ? bases
            .map((base) => lockedRows(embedded, base))
            .filter(({ positions }) => positions.length > 0)
        : undefined
    return { ...rest, changes, locked, sequences, touchedUnloaded, hasFailed: error !== undefined }
  }

  /** What lasts, and what is temporary: another text after DDL. */
  #catalogState(): readonly (string | null)[] {
    return this.#embedded.column(catalogState)
  }

  /** @throws 0A000 */
  #checkCatalog([lastingBefore, temporaryBefore]: readonly (string | null)[]): void {
    const [lasting, temporary] = this.#catalogState()
    if (lasting === lastingBefore && temporary === temporaryBefore) return
    this.isSpoilt = true
    if (lasting !== lastingBefore) {
      throw notSupported(
        'a function that creates, alters or drops something is not supported',
        'Send the DDL as a statement of its own.',
      )
    }
  }

  #captureBases(job: EvaluateJob): CaptureBase[] {
    const rewritable = /^\s*alter\s/i.test(job.statement.sql)
    if (this.#loaders === undefined) return []
    if (job.pendingDdl.length > 0) this.#names.forget()
    return this.#names.leavesOf(job.captureTables).map((oid) => {
      const rowCount = job.loads.find(({ tableOid }) => tableOid === oid)?.rowCount ?? 0
      if (job.needsKeys && rowCount > 0) {
        for (const index of this.#embedded.column(keyIndexesOf(oid))) {
          this.#embedded.run(`REINDEX INDEX ${index}`)
        }
        this.#traces.noteFiles()
      }
      return captureBase(this.#embedded, oid, this.#names.nameOf(oid) ?? '', rowCount, rewritable)
    })
  }

  /** Also of tables that nobody expected to be written (triggers), if no rows were loaded into them. */
  #changes(
    job: EvaluateJob,
    bases: readonly CaptureBase[],
    written: readonly number[],
  ): TableChange[] {
    if (this.#loaders === undefined) return []
    const more = this.#names
      .leavesOf(written)
      .filter((oid) => !bases.some(({ tableOid }) => tableOid === oid))
      .filter((oid) => !job.loads.some((load) => load.tableOid === oid && load.rowCount > 0))
      .map((oid) => captureBase(this.#embedded, oid, this.#names.nameOf(oid) ?? '', 0, false))
    return [...bases, ...more]
      .map((base) => captureChange(this.#embedded, base))
      .filter((change) => change !== undefined)
  }

  /** Of the tables that the statement itself names it was given the rows that it can reach; a statement within it may want others. */
  #unloaded(job: EvaluateJob, read: readonly number[], readWithin: readonly number[]): number[] {
    if (this.#loaders === undefined) return []
    return read.filter((oid) => {
      const load = job.loads.find(({ tableOid }) => tableOid === oid)
      return load === undefined || (load.isWhole !== true && readWithin.includes(oid))
    })
  }

  #count(job: EvaluateJob, changes: readonly TableChange[]): void {
    this.#runCount += 1
    if (job.pendingDdl.length > 0) this.#names.forget()
    for (const { tableOid, rowCount, tuples } of job.loads) {
      if (rowCount === 0) continue
      this.#addDead(tableOid, rowCount + tuples.length / bytesOfOneRow)
      // Emptied soon after, so that the next statement that captures need not wait for it.
      if (job.captureTables.length > 0) this.#addDead(tableOid, deadRowCountMax)
    }
    for (const { tableOid, insertedCount, inserted } of changes) {
      this.#addDead(tableOid, insertedCount + inserted.length / bytesOfOneRow)
    }
    // Rows of statements that failed are not known: a guess.
    for (const oid of job.captureTables) this.#addDead(oid, 20)
  }

  #addDead(oid: number, count: number): void {
    this.#deadRows.set(oid, (this.#deadRows.get(oid) ?? 0) + count)
  }

  #vacuum(oids: readonly number[]): void {
    for (const oid of oids) {
      const name = this.#names.nameOf(oid)
      const count = this.#deadRows.get(oid) ?? 0
      this.#deadRows.delete(oid)
      // A table of rolled-back DDL has no name, and its file is gone.
      if (name === undefined) continue
      if (count > vacuumedRowCountMax) this.#loaders?.truncate(name)
      // Table and loader share the file: the table's own VACUUM empties it.
      else this.#embedded.run(`VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) ${name}`)
    }
  }
}
