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

import { type CaptureBase, captureBase, captureChange } from '#postgres/capture.js'
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
import type { TrialTraces } from '#postgres/trial-traces.js'

// A heap that only grows makes every scan read dead rows; VACUUM costs about 0.4 ms.
const deadRowCountMax = 5_000
const runCountBetweenCheckpoints = 1_000

export class Evaluations {
  readonly #embedded: Embedded
  readonly #settings: SettingsState
  readonly #loaders: Loaders | undefined
  readonly #sequences: Sequences
  readonly #tableNames = new Map<number, string>()
  /** Dead rows by table since its last VACUUM; captured ones count as full. */
  readonly #deadRows = new Map<number, number>()
  #runCount = 0
  readonly #traces: TrialTraces

  constructor(
    embedded: Embedded,
    kind: InstanceKind,
    settings: SettingsState,
    traces: TrialTraces,
  ) {
    this.#traces = traces
    this.#embedded = embedded
    this.#settings = settings
    this.#loaders = kind === 'evaluator' ? new Loaders(embedded) : undefined
    this.#sequences = new Sequences(embedded)
  }

  /** After DDL was applied. */
  forget(): void {
    this.#loaders?.forget()
    this.#sequences.forget()
    this.#tableNames.clear()
    this.#deadRows.clear()
  }

  /** @throws DatabaseError as PostgreSQL raised it */
  run(job: EvaluateJob): EvaluationResult {
    const embedded = this.#embedded
    this.#settings.apply(job.settings)
    this.#prepare(job)
    embedded.hooks.withClock(job.transactionStartMs, () => embedded.run('BEGIN'))
    let failed = true
    try {
      const result = this.#inTransaction(job)
      failed = false
      return result
    } finally {
      if (job.pendingDdl.length > 0) this.#traces.note(failed)
      embedded.run('ROLLBACK; DISCARD SEQUENCES')
      this.#count(job)
    }
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
    const dirty = loaded.filter((oid) => job.captureTables.includes(oid) && this.#deadRows.has(oid))
    if (dirty.length > 0) this.#vacuum(dirty)
    if (job.pendingDdl.length === 0) this.#loaders?.prepare(loaded)
  }

  #inTransaction(job: EvaluateJob): EvaluationResult {
    const embedded = this.#embedded
    if (job.pendingDdl.length > 0) {
      if (this.#loaders !== undefined) embedded.run(beforeDdl)
      for (const step of job.pendingDdl) runDdlStep(embedded, step)
      if (this.#loaders !== undefined) {
        embedded.run(afterDdl)
        const loaded = job.loads.filter(({ rowCount }) => rowCount > 0)
        this.#loaders.prepareInTransaction(loaded.map(({ tableOid }) => tableOid))
      }
    }
    for (const load of job.loads) loadRows(embedded, load)
    this.#sequences.set(job.sessionSequences, job.sequences)
    const bases = this.#captureBases(job)
    const become = becomeUser(job.settings.user, job.settings.role)
    if (become !== '') embedded.run(become)
    embedded.hooks.takeTouchedRelations()
    const answer = runStatement(embedded, job.statement, job.copyData)
    const touchedUnloaded = this.#touchedUnloaded(job)
    if (answer.error !== undefined) {
      if (touchedUnloaded.length === 0 || !mayComeFromMissingRows(answer.error)) throw answer.error
      return { ...answer, changes: [], sequences: job.sequences, touchedUnloaded }
    }
    const changes: TableChange[] = []
    let sequences = job.sequences
    if (bases.length > 0 || job.sequences.length > 0) {
      if (become !== '') embedded.run(becomeSuperuser)
      sequences = this.#sequences.read(job.sequences)
      for (const base of bases) {
        const change = captureChange(embedded, base)
        if (change !== undefined) changes.push(change)
      }
    }
    const { rowDescription, dataRows, rowCount, commandTag, notices } = answer
    return {
      rowDescription,
      dataRows,
      rowCount,
      commandTag,
      notices,
      changes,
      sequences,
      touchedUnloaded,
    }
  }

  #captureBases(job: EvaluateJob): CaptureBase[] {
    const pending = job.pendingDdl.length > 0
    this.#learnNames(job.captureTables, pending)
    return job.captureTables.map((oid) => {
      const rowCount = job.loads.find(({ tableOid }) => tableOid === oid)?.rowCount ?? 0
      const name = this.#tableNames.get(oid) ?? ''
      if (job.needsKeys && rowCount > 0) {
        for (const index of this.#embedded.column(keyIndexesOf(oid))) {
          this.#embedded.run(`REINDEX INDEX ${index}`)
        }
        this.#traces.noteFiles()
      }
      return captureBase(this.#embedded, oid, name, rowCount)
    })
  }

  #learnNames(oids: readonly number[], pending: boolean): void {
    if (pending) this.#tableNames.clear()
    const unknown = oids.filter((oid) => !this.#tableNames.has(oid))
    if (unknown.length === 0) return
    const rows = this.#embedded.column(
      `SELECT c.oid::int8 || ' ' || format('%I.%I', nspname, relname) FROM pg_class c
         JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid IN (${unknown.join(', ')})`,
    )
    for (const row of rows) {
      const [oid = '', ...name] = (row ?? '').split(' ')
      this.#tableNames.set(Number(oid), name.join(' '))
    }
  }

  #touchedUnloaded(job: EvaluateJob): number[] {
    if (this.#loaders === undefined) return []
    const touched = this.#embedded.hooks.takeTouchedRelations()
    return touched.filter((oid) => !job.loads.some(({ tableOid }) => tableOid === oid))
  }

  #count(job: EvaluateJob): void {
    this.#runCount += 1
    if (job.pendingDdl.length > 0) this.#tableNames.clear()
    for (const { tableOid, rowCount } of job.loads) {
      if (rowCount > 0) this.#addDead(tableOid, rowCount)
    }
    for (const oid of job.captureTables) {
      // Emptied soon after, so that the next statement on the table need not wait for it.
      const hadRows = job.loads.some(({ tableOid, rowCount }) => tableOid === oid && rowCount > 0)
      this.#addDead(oid, hadRows ? deadRowCountMax : 50)
    }
  }

  #addDead(oid: number, count: number): void {
    this.#deadRows.set(oid, (this.#deadRows.get(oid) ?? 0) + count)
  }

  #vacuum(oids: readonly number[]): void {
    this.#learnNames(oids, false)
    for (const oid of oids) {
      const name = this.#tableNames.get(oid)
      // Two relations share the file: the table's own VACUUM empties it. Tables of rolled-back DDL have no name.
      if (name !== undefined) this.#embedded.run(`VACUUM (INDEX_CLEANUP ON, TRUNCATE ON) ${name}`)
      this.#deadRows.delete(oid)
    }
  }
}
