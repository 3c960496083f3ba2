/** The main thread's handle on an instance in its worker. */
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { DatabaseError, type ErrorFields } from '#base/errors.js'
import { InstanceReplaced, instanceLost } from '#postgres/instance-lost.js'
import type { Job, JobResult, Jobs, Reply, WorkerData } from '#postgres/jobs.js'
import type { InstanceKind } from '#postgres/start-options.js'

/** What every instance starts from; read and compiled once per process. */
export interface InstanceSource {
  readonly snapshot: Uint8Array
  readonly compiled: unknown
  /** Hash of all that decides what replaying DDL makes. */
  readonly program: string
}

// PostgreSQL itself stops at max_stack_depth (2 MB of its own stack); frames in WebAssembly need many times that.
const stackSizeMb = 64

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
  /** Of an abandoned call: for how long it may run on. */
  readonly graceMs?: number
}

export class Instance {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  readonly #started: Promise<void>
  #nextId = 1
  #dead = false
  #graceTimer: NodeJS.Timeout | undefined
  memoryBytes = 0
  /** It must not apply DDL any more: objects would get other identifiers. */
  isSpoilt = false
  runCount = 0

  /** @param image files of another instance to start from, shared */
  constructor(kind: InstanceKind, { snapshot, compiled }: InstanceSource, image?: Uint8Array) {
    const data: WorkerData = { instanceKind: kind, snapshot, compiled, image }
    this.#worker = startWorker(data)
    this.#started = new Promise((resolve, reject) => {
      this.#waiting.set(0, { resolve: () => resolve(), reject })
    })
    this.#started.catch(() => {})
    this.#worker.on('message', (reply: Reply) => this.#receive(reply))
    this.#worker.on('error', (error) => this.#lose(error))
    this.#worker.on('exit', () => this.#lose())
  }

  get dead(): boolean {
    return this.#dead
  }

  started(): Promise<void> {
    return this.#started
  }

  /**
   * Jobs queue up in the worker in the order of the calls.
   * @param told gets the number by which the call can be abandoned
   * @throws DatabaseError; InstanceReplaced when another call has ended the instance
   */
  call<K extends keyof Jobs>(
    job: Job & { readonly kind: K },
    transfer: readonly ArrayBuffer[] = [],
    told?: (callId: number) => void,
  ): Promise<JobResult<K>> {
    if (this.#dead) return Promise.reject(new InstanceReplaced())
    const id = this.#nextId
    told?.(id)
    this.#nextId += 1
    this.runCount += 1
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ id, job }, [...transfer])
    }) as Promise<JobResult<K>>
  }

  /** Whatever it is doing. Calls that wait fail. */
  async terminate(): Promise<void> {
    this.#end([...this.#waiting.keys()], instanceLost())
    await this.#worker.terminate()
  }

  /**
   * The call fails with `reason` at once. What it runs can only be stopped by ending the thread, and everybody waits until
   * the next instance has started: so it may come to its end, which is near for nearly all. Whoever runs for longer than
   * `graceMs`, counted from its turn, costs the instance; the others may ask the next one.
   * @returns resolves when the instance is rid of the call, or dead
   */
  abandon(callId: number, reason: Error, graceMs: number): Promise<void> {
    const waiting = this.#waiting.get(callId)
    if (waiting === undefined) return Promise.resolve()
    return new Promise((resolve) => {
      const over = (): void => resolve()
      // In its place: the first one is the one that runs.
      this.#waiting.set(callId, { resolve: over, reject: over, graceMs })
      waiting.reject(reason)
      const [running] = this.#waiting.keys()
      if (running === callId) this.#startGrace()
    })
  }

  /** If the call that runs was abandoned. */
  #startGrace(): void {
    clearTimeout(this.#graceTimer)
    const [running] = this.#waiting
    const graceMs = running?.[1].graceMs
    if (running === undefined || graceMs === undefined) return
    this.#graceTimer = setTimeout(() => {
      this.#end([running[0]], instanceLost())
      this.#worker.terminate().catch(() => {})
    }, graceMs)
  }

  /** Keeps the process alive only while it is asked something. */
  unref(): void {
    this.#worker.unref()
  }

  #receive(reply: Reply): void {
    if (reply.kind === 'ready') {
      this.#take(0)?.resolve(undefined)
      return
    }
    if (reply.kind === 'dead') {
      this.#lose(instanceLost(reply.reason))
      this.#worker.terminate().catch(() => {})
      return
    }
    this.memoryBytes = reply.memoryBytes
    this.isSpoilt = reply.isSpoilt
    const waiting = this.#take(reply.id)
    if (reply.kind === 'result') waiting?.resolve(reply.result)
    else {
      const { sqlState, message, fields } = reply.error
      waiting?.reject(new DatabaseError(sqlState, message, fields as ErrorFields))
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    this.#startGrace()
    return waiting
  }

  /** It failed by itself: in what it was running, or in starting. */
  #lose(error?: Error): void {
    const [running] = this.#waiting.keys()
    const reason = error instanceof DatabaseError ? error : instanceLost(error)
    this.#end(running === undefined ? [] : [running], reason)
  }

  #end(ended: readonly number[], reason: Error): void {
    this.#dead = true
    clearTimeout(this.#graceTimer)
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const [id, { reject }] of waiting) {
      reject(ended.includes(id) ? reason : new InstanceReplaced())
    }
  }
}

/** From dist the compiled file; from source (tests, npm run dev) through tsx, which a worker must register itself. */
function startWorker(workerData: WorkerData): Worker {
  const resourceLimits = { stackSizeMb }
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./instance-worker.js', import.meta.url), {
      workerData,
      resourceLimits,
      execArgv: [],
    })
  }
  const entry = new URL('./instance-worker.ts', import.meta.url).href
  // require() finds the CommonJS face, which registers with a path of its own that is not there.
  const api = createRequire(import.meta.url)
    .resolve('tsx/esm/api')
    .replace(/\.cjs$/, '.mjs')
  return new Worker(
    `import(${JSON.stringify(api)}).then((tsx) => {
      tsx.register()
      return import(${JSON.stringify(entry)})
    })`,
    { eval: true, workerData, resourceLimits, execArgv: ['--conditions=source'] },
  )
}
