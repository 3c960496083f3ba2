/** Advisory locks: real ones, kept here because the embedded instances forget everything between statements. */
import type { Context } from '#base/context.js'

export interface LockRequest {
  /** 'int8:5' or 'int4:1,2': the two key spaces are apart. */
  readonly key: string
  readonly shared: boolean
  readonly scope: 'session' | 'transaction'
}

interface Held {
  readonly owner: object
  readonly shared: boolean
  readonly scope: 'session' | 'transaction'
}

export class AdvisoryLocks {
  readonly #held = new Map<string, Held[]>()
  readonly #waiting = new Map<string, (() => void)[]>()

  /** @returns false when another session holds it in a conflicting mode. Locks of one session never conflict. */
  tryAcquire(owner: object, request: LockRequest): boolean {
    const held = this.#held.get(request.key) ?? []
    const conflict = held.some((lock) => lock.owner !== owner && !(lock.shared && request.shared))
    if (conflict) return false
    this.#held.set(request.key, [...held, { owner, shared: request.shared, scope: request.scope }])
    return true
  }

  /** @throws the context's reason when cancelled while waiting */
  async acquire(owner: object, request: LockRequest, context: Context): Promise<void> {
    while (!this.tryAcquire(owner, request)) {
      context.signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          context.signal.removeEventListener('abort', wake)
          resolve()
        }
        context.signal.addEventListener('abort', wake, { once: true })
        this.#waiting.set(request.key, [...(this.#waiting.get(request.key) ?? []), wake])
      })
      context.signal.throwIfAborted()
    }
  }

  /** @returns whether the session held such a lock */
  release(owner: object, key: string, shared: boolean): boolean {
    const held = this.#held.get(key) ?? []
    const index = held.findIndex(
      (lock) => lock.owner === owner && lock.shared === shared && lock.scope === 'session',
    )
    if (index < 0) return false
    this.#set(key, held.toSpliced(index, 1))
    return true
  }

  releaseAll(owner: object, scope: 'session' | 'transaction' | 'both'): void {
    for (const [key, held] of this.#held) {
      const kept = held.filter(
        (lock) => lock.owner !== owner || (scope !== 'both' && lock.scope !== scope),
      )
      if (kept.length !== held.length) this.#set(key, kept)
    }
  }

  #set(key: string, held: Held[]): void {
    if (held.length === 0) this.#held.delete(key)
    else this.#held.set(key, held)
    const waiting = this.#waiting.get(key) ?? []
    this.#waiting.delete(key)
    for (const wake of waiting) wake()
  }
}
