/**
 * The simulated world: virtual time, a queue of events, one source of chance. Nothing in it touches a real clock, timer,
 * thread or file, so that a seed decides everything.
 *
 * Between two events all promise continuations run to rest. Node's own order does that: a microtask that asks for
 * process.nextTick gets its turn when the microtask queue is empty, without a round of the event loop
 * (lib/internal/process/task_queues.js, processTicksAndRejections). That costs about a microsecond per event.
 */
import { InvariantError } from '#base/errors.js'
import type { Bug } from './bugs.js'
import { Random } from './random.js'
import { Trace } from './trace.js'

interface Event {
  readonly atMs: number
  readonly order: number
  readonly label: string
  readonly run: () => void
}

/** The seed's finding: an invariant, by name, that did not hold. */
export class Violation extends Error {
  readonly invariantName: string

  constructor(invariantName: string, message: string) {
    super(`${invariantName}: ${message}`)
    this.name = 'Violation'
    this.invariantName = invariantName
  }
}

export const noBug: Bug = { invariantName: '', says: '' }

export class World {
  readonly random: Random
  readonly trace: Trace
  nowMs = 0
  /** The newest that a coordinator has handed out. */
  newestTimestamp = 0
  /** By log channel: who owns it, and the log's end when it took over. */
  readonly fences = new Map<string, { readonly term: number; readonly position: number }>()
  /** The first one stops the run. */
  violation: Error | undefined
  #stopped = false
  #order = 0
  readonly #heap: Event[] = []

  /** Planted, if any. */
  readonly bug: Bug

  constructor(seed: number, bug: Bug = noBug, print?: (line: string) => void) {
    this.bug = bug
    this.random = new Random(seed)
    this.trace = new Trace(print)
  }

  say(who: string, what: string): void {
    this.trace.say(this.nowMs, who, what)
  }

  count(what: string, times = 1): void {
    this.trace.count(what, times)
  }

  /** What background work runs into is tried again; but an invariant that does not hold is a finding. */
  noteBackgroundError(who: string, error: unknown): void {
    this.count('background work failed')
    this.say(who, `in the background: ${String(error)}`)
    if (error instanceof InvariantError) this.violate(error.invariantName, error.message)
  }

  /** Work that goes on by itself: what it throws is a defect of the simulation or a violation. */
  spawn(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.fail(error))
  }

  fail(error: unknown): void {
    this.violation ??= error instanceof Error ? error : new Error(String(error))
  }

  violate(invariantName: string, message: string): void {
    this.say('VIOLATION', `${invariantName}: ${message}`)
    this.fail(new Violation(invariantName, message))
  }

  after(ms: number, label: string, run: () => void): void {
    this.#push({ atMs: this.nowMs + Math.max(0, ms), order: this.#order++, label, run })
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, 'wait', resolve))
  }

  stop(): void {
    this.#stopped = true
  }

  /** Runs until stop(), a violation, or nothing is left to happen. @throws the violation */
  async run(untilMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const step = (): void => {
        const event = this.violation === undefined && !this.#stopped ? this.#pop() : undefined
        if (event === undefined || event.atMs > untilMs) {
          resolve()
          return
        }
        this.nowMs = event.atMs
        this.trace.mark(event.atMs, event.label)
        try {
          event.run()
        } catch (error) {
          this.fail(error)
        }
        queueMicrotask(next)
      }
      const next = (): void => process.nextTick(step)
      queueMicrotask(next)
    })
    if (this.violation !== undefined) throw this.violation
  }

  /** A binary heap by time, then by order of asking. */
  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !isBefore(event, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      let least = heap[child]
      if (least === undefined) break
      const right = heap[child + 1]
      if (right !== undefined && isBefore(right, least)) {
        child += 1
        least = right
      }
      if (!isBefore(least, last)) break
      heap[at] = least
      at = child
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
