/** The jobs of one instance, run one after the other in its thread. */
import type { Description, EvaluationResult } from '#postgres/contract.js'
import { readCatalog } from '#postgres/catalog-queries.js'
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
import type { InstanceKind } from '#postgres/start-options.js'

const noSettings: JobSettings = { key: ' none', user: 'postgres', role: undefined, gucs: [] }

export class InstanceJobs {
  readonly #embedded: Embedded
  readonly #kind: InstanceKind
  readonly #settings: SettingsState
  readonly #evaluations: Evaluations
  #leftFiles = false

  constructor(embedded: Embedded, kind: InstanceKind) {
    this.#embedded = embedded
    this.#kind = kind
    this.#settings = new SettingsState(embedded, kind)
    this.#evaluations = new Evaluations(embedded, kind, this.#settings)
  }

  /** @throws DatabaseError, InstanceDeadError */
  run(job: Job): unknown {
    switch (job.kind) {
      case 'describe':
        return this.#analyze(job, (): Description => describeStatement(this.#embedded, job.statement))
      case 'explain':
        return this.#analyze(job, (): string => explainStatement(this.#embedded, job.statement))
      case 'evaluate': {
        const result: EvaluationResult = this.#evaluations.run(job)
        if (job.pendingDdl.length > 0) this.#leftFiles = true
        return result
      }
      case 'apply':
        return this.#apply(job)
      case 'tryDdl':
        return this.#tryDdl(job)
      case 'snapshot':
        return readCatalog(this.#embedded)
    }
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
    if (job.pendingDdl.length > 0) this.#removeFiles()
    return this.#rolledBack(() => {
      for (const step of job.pendingDdl) this.#step(step)
      const become = becomeUser(job.settings.user, job.settings.role)
      if (become !== '') this.#embedded.run(become)
      return work()
    })
  }

  #tryDdl(job: TryDdlJob): TryDdlResult {
    this.#settings.apply(noSettings)
    this.#removeFiles()
    return this.#rolledBack(() => {
      this.#embedded.hooks.setNextOid(job.nextOid)
      for (const step of job.pendingDdl) this.#step(step)
      const outcome = this.#step(job.step)
      const catalog: RawCatalog = readCatalog(this.#embedded)
      return { ...outcome, catalog }
    })
  }

  #apply(job: ApplyJob): ApplyResult {
    this.#settings.apply(noSettings)
    this.#removeFiles()
    const evaluator = this.#kind === 'evaluator'
    if (evaluator) this.#embedded.run(beforeDdl)
    if (job.atomic) this.#committed(job.steps)
    else for (const step of job.steps) this.#committed([step])
    if (evaluator) this.#embedded.run(afterDdl)
    this.#evaluations.forget()
    return { nextOid: this.#embedded.hooks.getNextOid() }
  }

  #committed(steps: readonly DdlStep[]): void {
    this.#embedded.run('BEGIN')
    try {
      for (const step of steps) runDdlStep(this.#embedded, step)
      this.#embedded.run('COMMIT')
    } catch (error) {
      this.#leftFiles = true
      this.#embedded.run('ROLLBACK')
      throw error
    }
  }

  #step(step: DdlStep): ReturnType<typeof runDdlStep> {
    this.#leftFiles = true
    return runDdlStep(this.#embedded, step)
  }

  #rolledBack<T>(work: () => T): T {
    this.#embedded.run('BEGIN')
    try {
      return work()
    } finally {
      this.#embedded.run('ROLLBACK')
    }
  }

  #removeFiles(): void {
    if (!this.#leftFiles) return
    this.#embedded.run('CHECKPOINT')
    this.#leftFiles = false
  }
}
