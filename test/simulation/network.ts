/**
 * The network between simulated processes. A call is two messages.
 *
 * Fault model: a message takes its time (so messages overtake each other), is lost, or cannot pass because of a partition
 * between two processes (which may be one-way). The caller of a call without an answer hears after a time that nobody
 * answered: UnreachableError, indeterminate; who calls a process that is not there may hear so at once (determinate).
 * A request of a method that is safe to repeat may arrive, and be executed, twice; others are not repeated, because the
 * transport (HTTP/2 over TCP) does not repeat either. An abandoned scan is closed sooner or later, as a broken stream is.
 */
import { backgroundContext, type Context } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import { copy } from './copy.js'
import type { SimProcess } from './process.js'
import type { Random } from './random.js'
import type { World } from './world.js'

export interface NetworkFaults {
  delayMsMax: number
  /** Some messages take much longer. */
  slow: number
  loss: number
  duplicate: number
}

export const quietNetwork: NetworkFaults = { delayMsMax: 1, slow: 0, loss: 0, duplicate: 0 }

/**
 * How a method of a contract travels: once, perhaps twice, as a stream of parts, or as a look at what the last answer said
 * (methods that answer at once).
 */
export type Travel =
  | 'once'
  | 'repeatable'
  | 'stream'
  | { readonly known: unknown }
  | { readonly always: unknown }
  | 'absent'
export type Travels<T> = Readonly<Record<keyof T & string, Travel>>

export interface Address<T> {
  readonly process: SimProcess
  readonly target: T
}

type Method = (...given: unknown[]) => unknown
/** Where an object that a call has handed out (staged rows) really is. */
interface Handle {
  readonly process: SimProcess
  readonly object: unknown
}

const timeoutMs = 400

export class Network {
  readonly faults: NetworkFaults = { ...quietNetwork }
  readonly #world: World
  readonly #random: Random
  readonly #cut = new Set<string>()
  readonly #handles = new WeakMap<object, Handle>()

  constructor(world: World) {
    this.#world = world
    this.#random = world.random.fork()
  }

  /** Messages from one do not reach the other. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`)
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.has(`${from}>${to}`)
  }

  heal(): void {
    this.#cut.clear()
  }

  /** A stub of what the address names at the time of each call. */
  connect<T extends object>(
    caller: SimProcess,
    name: string,
    address: () => Address<T> | undefined,
    travels: Travels<T>,
  ): T {
    const known = new Map<string, unknown>()
    const stub: Record<string, unknown> = {}
    const link = {
      caller,
      name,
      address: address as () => Address<object> | undefined,
      known,
      travels,
    }
    for (const [method, travel] of Object.entries<Travel>(travels)) {
      if (travel === 'absent') continue
      if (typeof travel === 'object') {
        stub[method] =
          'always' in travel ? () => travel.always : () => known.get(method) ?? travel.known
      } else if (travel === 'stream')
        stub[method] = (...given: unknown[]) => this.#stream(link, method, given)
      else {
        stub[method] = (...given: unknown[]) =>
          this.#call(link, method, given, travel === 'repeatable')
      }
    }
    return stub as T
  }

  #call(
    link: Link,
    method: string,
    given: readonly unknown[],
    repeatable: boolean,
  ): Promise<unknown> {
    const run = (target: object, values: readonly unknown[]): unknown =>
      (target as Record<string, Method>)[method]?.apply(target, [...values])
    return this.#exchange(link, method, given, repeatable, run)
  }

  /** @param run what the callee does, in its process */
  #exchange(
    link: Link,
    label: string,
    given: readonly unknown[],
    repeatable: boolean,
    run: (target: object, values: readonly unknown[]) => unknown,
  ): Promise<unknown> {
    const { caller, name } = link
    this.#world.count('message')
    return new Promise((resolve, reject) => {
      let settled = false
      let leave = (): void => {}
      const settle = (finish: () => void): void => {
        if (settled) return
        settled = true
        leave()
        if (caller.alive) finish()
      }
      const context = given.find(isContext)
      const cancel = new AbortController()
      if (context !== undefined && context.signal !== backgroundContext.signal) {
        const { signal } = context
        const onAbort = (): void => {
          this.#world.after(this.#delay(), 'cancel', () => cancel.abort(signal.reason))
          settle(() => reject(signal.reason))
        }
        if (signal.aborted) {
          reject(signal.reason)
          return
        }
        signal.addEventListener('abort', onAbort, { once: true })
        leave = () => signal.removeEventListener('abort', onAbort)
      }
      const values = given.map((value) =>
        isContext(value) ? { signal: cancel.signal } : copy(value),
      )
      const failed = (outcome: 'determinate' | 'indeterminate', why: string): void =>
        settle(() => reject(new UnreachableError(outcome, `${name}.${label}: ${why}`)))
      this.#world.after(timeoutMs, 'timeout', () => {
        if (!settled) this.#world.count('call without answer')
        failed('indeterminate', 'no answer')
      })
      const arrive = (): void => {
        const found = link.address()
        if (found === undefined || !found.process.alive) {
          if (this.#random.chance(0.7))
            this.#world.after(this.#delay(), label, () => failed('determinate', 'nobody is there'))
          return
        }
        const { process, target } = found
        if (this.isCut(caller.name, process.name)) return
        const answer = (finish: () => void): void => {
          if (!process.alive) return
          for (const [what, travel] of Object.entries(link.travels)) {
            if (typeof travel !== 'object' || 'always' in travel) continue
            const value = look(target, what)
            if (value !== undefined) link.known.set(what, value)
          }
          if (this.#lost()) return
          this.#world.after(this.#delay(), label, () => {
            if (!this.isCut(process.name, caller.name)) settle(finish)
          })
        }
        let work: Promise<unknown>
        try {
          work = Promise.resolve(
            run(
              target,
              values.map((value) => this.#resolveHandles(process, value)),
            ),
          )
        } catch (error) {
          work = Promise.reject(error)
        }
        work.then(
          (value) => {
            const travelling = this.#export(process, link, value)
            let isDelivered = false
            answer(() => {
              isDelivered = true
              resolve(travelling)
            })
            if (!isStaged(value)) return
            // The stream that opened them has no other end.
            this.#world.after(timeoutMs, 'give up', () => {
              if (!isDelivered) giveUp(process, value)
            })
          },
          (error: unknown) => answer(() => reject(error)),
        )
      }
      if (!this.#lost()) this.#world.after(this.#delay(), label, arrive)
      if (repeatable && this.#random.chance(this.faults.duplicate)) {
        this.#world.count('message doubled')
        this.#world.after(this.#delay() * 4, label, arrive)
      }
    })
  }

  async *#stream(
    link: Link,
    method: string,
    given: readonly unknown[],
  ): AsyncGenerator<unknown, unknown> {
    let remote:
      | { readonly process: SimProcess; readonly parts: AsyncGenerator<unknown, unknown> }
      | undefined
    let closed = false
    const close = (): void => {
      closed = true
      const open = remote
      if (open?.process.alive !== true) return
      this.#world.after(this.#delay(), 'close', () => {
        open.parts.return(undefined).catch(() => {})
      })
    }
    link.caller.onDeath(close)
    try {
      // The first part comes with the opening.
      let next = (await this.#exchange(link, method, given, false, async (target, values) => {
        const parts = (target as Record<string, Method>)[method]?.apply(target, [...values])
        remote = { process: link.address()?.process ?? link.caller, parts: parts as AsyncGenerator }
        const first = await remote.parts.next()
        if (closed) close()
        return first
      })) as IteratorResult<unknown, unknown>
      for (;;) {
        if (next.done === true) return next.value
        yield next.value
        const open = remote
        const pull = async (): Promise<unknown> => {
          if (open === undefined || link.address()?.process !== open.process) {
            throw new UnreachableError('determinate', `${link.name}.${method}: the node has gone`)
          }
          return await open.parts.next()
        }
        next = (await this.#exchange(link, `${method}+`, [], false, pull)) as typeof next
      }
    } finally {
      close()
    }
  }

  #delay(): number {
    const { delayMsMax, slow } = this.faults
    const delay = this.#random.between(0.05, delayMsMax)
    return this.#random.chance(slow) ? delay * 30 : delay
  }

  #lost(): boolean {
    if (!this.#random.chance(this.faults.loss)) return false
    this.#world.count('message lost')
    return true
  }

  /**
   * Staged rows stay where they are: the caller gets something that calls them. They live as long as the stream by which they were
   * opened (nodes/streaming/serve.ts), so no longer than the caller.
   */
  #export(process: SimProcess, link: Link, value: unknown): unknown {
    if (!isStaged(value)) return copy(value)
    const end = (): void => {
      this.#world.after(this.#delay(), 'give up', () => giveUp(process, value))
    }
    if (link.caller.alive) link.caller.onDeath(end)
    else end()
    let rowCount = value.rowCount
    const call = (method: string, given: readonly unknown[]): Promise<unknown> =>
      this.#exchange(link, method, given, false, async (_, values) => {
        if (link.address()?.process !== process)
          throw new UnreachableError('determinate', 'the staged rows have gone')
        const done = await (value as unknown as Record<string, Method>)[method]?.apply(value, [
          ...values,
        ])
        rowCount = value.rowCount
        return done
      })
    const stub = {
      tableId: value.tableId,
      shard: value.shard,
      get rowCount() {
        return rowCount
      },
      append: (batch: unknown) => call('append', [batch]),
      async abort() {
        end()
        await call('abort', [])
      },
    }
    this.#handles.set(stub, { process, object: value })
    return stub
  }

  /** In a commit request: staged rows as their owner knows them. */
  #resolveHandles(process: SimProcess, value: unknown): unknown {
    if (typeof value !== 'object' || value === null || !('staged' in value)) return value
    const staged = value.staged as readonly object[]
    if (staged.length === 0) return value
    return {
      ...value,
      staged: staged.map((stub) => {
        const handle = this.#handles.get(stub)
        if (handle === undefined || handle.process !== process) {
          throw new UnreachableError('determinate', 'the staged rows have gone')
        }
        return handle.object
      }),
    }
  }
}

interface Link {
  readonly caller: SimProcess
  readonly name: string
  readonly address: () => Address<object> | undefined
  readonly travels: Readonly<Record<string, Travel>>
  /** What answers have said. */
  readonly known: Map<string, unknown>
}

interface Staged {
  readonly tableId: number
  readonly shard: number
  readonly rowCount: number
  abort(): Promise<void>
}

function isStaged(value: unknown): value is Staged {
  return typeof value === 'object' && value !== null && 'append' in value && 'abort' in value
}

function giveUp(process: SimProcess, value: Staged): void {
  if (process.alive) value.abort().catch(() => {})
}

function isContext(value: unknown): value is Context {
  return (
    typeof value === 'object' &&
    value !== null &&
    'signal' in value &&
    value.signal instanceof AbortSignal
  )
}

function look(target: object, what: string): unknown {
  try {
    return (target as Record<string, Method>)[what]?.call(target)
  } catch {
    return undefined
  }
}
