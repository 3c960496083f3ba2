/**
 * A few evaluators and one warm spare. A statement has an evaluator for itself; who comes when all are busy waits in
 * line. An evaluator that was lost, or has grown too large, is replaced by the spare at once and a new spare is started.
 * DDL reaches an evaluator before its next run.
 */
import { type Context, checkCancelled } from '#base/context.js'
import type { DdlEntry, EvaluationResult } from '#postgres/contract.js'
import type { Instance } from '#postgres/instance.js'
import { InstanceReplaced, instanceLost } from '#postgres/instance-lost.js'
import type { EvaluateJob } from '#postgres/jobs.js'
import { ddlSteps } from '#postgres/make-jobs.js'
import { cancelReason, runCancellable } from '#postgres/run-cancellable.js'
import type { InstanceStarter } from '#postgres/start-instance.js'

// The memory of an instance never shrinks; at rest it is 128 MB.
const memoryBytesMax = 640 * 1024 * 1024
const runCountMax = 1_000_000
const spareDelayMs = 2_000
/** The spare is ready, but making the next one is dear. */
const cancelGraceMs = 250
/** To replay that many takes as long as to start from an image. */
const entriesFarBehind = 100
const ddlText = /^\s*(alter|create|drop)\s/i

interface Evaluator {
  readonly instance: Instance
  /** Entries of the log applied. */
  applied: number
}

export class EvaluatorPool {
  readonly #starter: InstanceStarter
  readonly #log: () => readonly DdlEntry[]
  readonly #idle: Evaluator[] = []
  readonly #line: ((evaluator: Evaluator) => void)[] = []
  readonly #all = new Set<Instance>()
  #spare: Promise<Evaluator> | undefined
  #spareTimer: NodeJS.Timeout | undefined
  #closed = false

  /** @param log all entries applied so far, in order; grows */
  constructor(starter: InstanceStarter, log: () => readonly DdlEntry[]) {
    this.#starter = starter
    this.#log = log
  }

  /** Evaluators come up in the background; run() waits for the first. */
  start(count: number): void {
    for (let i = 0; i < count; i += 1) this.#replace(this.#make())
    this.#spareTimer = setTimeout(() => this.#startSpare(), spareDelayMs)
    this.#spareTimer.unref()
  }

  /** @throws DatabaseError; the signal's reason */
  async run(job: EvaluateJob, context: Context): Promise<EvaluationResult> {
    const evaluator = await this.#acquire(context)
    let isOver: Promise<void> | undefined
    try {
      checkCancelled(context)
      await this.#catchUp(evaluator)
      checkCancelled(context)
      return await runCancellable(evaluator.instance, job, context, {
        graceMs: cancelGraceMs,
        onCancel: (promise) => {
          isOver = promise
        },
      })
    } catch (error) {
      // Its thread ended while it was idle.
      throw error instanceof InstanceReplaced ? instanceLost(error) : error
    } finally {
      // DDL run as a statement (ALTER TABLE over the rows) is rolled back, but object identifiers it used are gone and
      // caches may know its relations: such an instance would number later objects differently.
      const release = (): void => this.#release(evaluator, ddlText.test(job.statement.sql))
      if (isOver === undefined) release()
      else void isOver.then(release)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#spareTimer)
    await Promise.all([...this.#all].map((instance) => instance.terminate()))
  }

  #acquire({ signal }: Context): Promise<Evaluator> {
    const free = this.#idle.pop()
    if (free !== undefined) return Promise.resolve(free)
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const at = this.#line.indexOf(take)
        if (at >= 0) this.#line.splice(at, 1)
        reject(cancelReason(signal))
      }
      const take = (evaluator: Evaluator): void => {
        signal.removeEventListener('abort', leave)
        resolve(evaluator)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#line.push(take)
    })
  }

  #release(evaluator: Evaluator, spoilt: boolean): void {
    const { instance } = evaluator
    if (this.#closed) return
    const worn =
      spoilt ||
      instance.isSpoilt ||
      instance.memoryBytes > memoryBytesMax ||
      instance.runCount > runCountMax
    if (!instance.dead && !worn) {
      this.#offer(evaluator)
      return
    }
    if (worn) this.#drop(instance)
    else this.#all.delete(instance)
    const spare = this.#spare ?? this.#make()
    this.#spare = undefined
    this.#replace(spare)
    spare.then(() => this.#startSpare()).catch(() => {})
  }

  #offer(evaluator: Evaluator): void {
    const first = this.#line.shift()
    if (first === undefined) this.#idle.push(evaluator)
    else first(evaluator)
  }

  #replace(next: Promise<Evaluator>): void {
    next
      .then((evaluator) => this.#offer(evaluator))
      .catch(() => {
        // Whoever waits would wait for ever: try again, not in a tight loop.
        if (!this.#closed) setTimeout(() => this.#replace(this.#make()), 1_000).unref()
      })
  }

  /** There is a newer image: who would have much to replay before its next run is replaced by one that starts from it. */
  renew(version: number): void {
    const isFarBehind = ({ applied }: Evaluator): boolean => version - applied >= entriesFarBehind
    for (const evaluator of this.#idle.filter(isFarBehind)) {
      this.#make()
        .then((next) => {
          const at = this.#idle.indexOf(evaluator)
          if (at >= 0) this.#idle.splice(at, 1)
          // It has work: it is as far as the others by now.
          if (at >= 0 && !this.#closed) this.#offer(next)
          this.#drop(at >= 0 ? evaluator.instance : next.instance)
        })
        .catch(() => {})
    }
    const spare = this.#spare
    spare
      ?.then((evaluator) => {
        if (!isFarBehind(evaluator) || this.#spare !== spare) return
        this.#spare = undefined
        this.#drop(evaluator.instance)
        this.#startSpare()
      })
      .catch(() => {})
  }

  #drop(instance: Instance): void {
    this.#all.delete(instance)
    instance.terminate().catch(() => {})
  }

  #startSpare(): void {
    if (this.#closed || this.#spare !== undefined) return
    this.#spare = this.#make()
    this.#spare.catch(() => {
      this.#spare = undefined
    })
  }

  async #make(): Promise<Evaluator> {
    const log = this.#log()
    const applied = log.length
    const { instance } = await this.#starter.start('evaluator', log.slice(), (made) => {
      if (this.#closed) throw new Error('evaluators are closed')
      this.#all.add(made)
    })
    return { instance, applied }
  }

  async #catchUp(evaluator: Evaluator): Promise<void> {
    const log = this.#log()
    if (evaluator.applied === log.length) return
    const { length } = log
    const steps = ddlSteps(log.slice(evaluator.applied))
    try {
      await evaluator.instance.call({ kind: 'apply', steps, atomic: false })
    } catch (error) {
      // Some steps are in, some are not: only a new one can be right.
      await evaluator.instance.terminate()
      throw error
    }
    evaluator.applied = length
  }
}
