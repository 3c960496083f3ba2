/** The jobs of one instance, run one after the other in its thread. */

import { findChange } from '#postgres/catalog-change.js'
import { readCatalog } from '#postgres/catalog-queries.js'
import type { Description } from '#postgres/contract.js'
import type { Embedded } from '#postgres/embedded.js'
import { afterDdl, beforeDdl } from '#postgres/evaluator-schema.js'
import type {
  ApplyJob,
  ApplyResult,
  DdlStep,
  Job,
  JobSettings,
  RawCatalog,
  TryDdlJob,
  TryDdlResult,
} from '#postgres/jobs.js'
import { describeStatement, explainStatement } from '#postgres/run-analysis.js'
import { runDdlStep } from '#postgres/run-ddl.js'
import { Evaluations } from '#postgres/run-evaluation.js'
import { becomeUser, SettingsState } from '#postgres/session-settings.js'
import { encodeBundle } from '#postgres/snapshot-bundle.js'
import type { InstanceKind } from '#postgres/start-options.js'
import { TrialTraces } from '#postgres/trial-traces.js'
import { WrittenCatalogs } from '#postgres/written-catalogs.js'

const noSettings: JobSettings = { key: ' none', user: 'postgres', role: undefined, gucs: [] }

export class InstanceJobs {
  readonly #embedded: Embedded
  readonly #kind: InstanceKind
  readonly #settings: SettingsState
  readonly #evaluations: Evaluations
  readonly #traces: TrialTraces
  readonly #written: WrittenCatalogs

  constructor(embedded: Embedded, kind: InstanceKind) {
    this.#embedded = embedded
    this.#kind = kind
    this.#settings = new SettingsState(embedded)
    this.#written = new WrittenCatalogs(embedded)
    this.#traces = new TrialTraces(embedded, this.#written)
    this.#evaluations = new Evaluations(embedded, kind, this.#settings, this.#traces)
  }

  /** @throws DatabaseError, InstanceDeadError */
  run(job: Job): unknown {
    switch (job.kind) {
      case 'describe':
        return this.#analyze(
          job,
          (): Description => describeStatement(this.#embedded, job.statement),
        )
      case 'explain':
        return this.#analyze(job, (): string => explainStatement(this.#embedded, job.statement))
      case 'evaluate':
        return this.#evaluations.run(job)
      case 'apply':
        return this.#apply(job)
      case 'tryDdl':
        return this.#tryDdl(job)
      case 'snapshot':
        return readCatalog(this.#embedded)
      case 'image':
        return this.#image()
    }
  }

  get isSpoilt(): boolean {
    return this.#evaluations.isSpoilt
  }

  /** When nobody waits. */
  tidy(): void {
    this.#evaluations.tidy()
  }

  #analyze<T>(
    job: { readonly settings: JobSettings; readonly pendingDdl: readonly DdlStep[] },
    work: () => T,
  ): T {
    this.#settings.apply(job.settings)
    return this.#rolledBack(job.pendingDdl.length > 0, () => {
      for (const step of job.pendingDdl) runDdlStep(this.#embedded, step)
      const become = becomeUser(job.settings.user, job.settings.role)
      if (become !== '') this.#embedded.run(become)
      return work()
    })
  }

  #tryDdl(job: TryDdlJob): TryDdlResult {
    this.#settings.apply(noSettings)
    this.#written.begin()
    return this.#rolledBack(true, () => {
      this.#embedded.hooks.setNextOid(job.nextOid)
      for (const step of job.pendingDdl) runDdlStep(this.#embedded, step)
      const outcome = runDdlStep(this.#embedded, job.step)
      return { ...outcome, catalog: this.#readChange() }
    })
  }

  #apply(job: ApplyJob): ApplyResult {
    this.#settings.apply(noSettings)
    this.#traces.clean()
    const evaluator = this.#kind === 'evaluator'
    if (evaluator) this.#embedded.run(beforeDdl)
    let catalog: RawCatalog | undefined
    if (job.wantsCatalog === true) this.#written.begin()
    if (job.atomic) {
      this.#committed(job.steps, () => {
        if (job.wantsCatalog === true) catalog = this.#readChange()
      })
    } else for (const step of job.steps) this.#committed([step])
    if (evaluator) this.#embedded.run(afterDdl)
    this.#evaluations.forget()
    return { nextOid: this.#embedded.hooks.getNextOid(), catalog }
  }

  #image(): Uint8Array {
    const bundle = encodeBundle(this.#embedded.dataFiles())
    const shared = new Uint8Array(new SharedArrayBuffer(bundle.length))
    shared.set(bundle)
    return shared
  }

  /** In the transaction that has changed it. */
  #readChange(): RawCatalog {
    return readCatalog(this.#embedded, findChange(this.#embedded, this.#written.read()))
  }

  #committed(steps: readonly DdlStep[], atEnd: () => void = () => {}): void {
    this.#embedded.run('BEGIN')
    try {
      for (const step of steps) runDdlStep(this.#embedded, step)
      atEnd()
      this.#embedded.run('COMMIT')
    } catch (error) {
      this.#traces.note(true)
      this.#embedded.run('ROLLBACK')
      throw error
    }
  }

  #rolledBack<T>(withDdl: boolean, work: () => T): T {
    if (withDdl) this.#traces.clean()
    this.#embedded.run('BEGIN')
    let failed = true
    try {
      const result = work()
      failed = false
      return result
    } finally {
      if (withDdl) this.#traces.note(failed)
      this.#embedded.run('ROLLBACK')
    }
  }
}
