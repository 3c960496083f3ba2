/** The lock service in this process: sessions over the table of locks. Held as long as the process lives. */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type {
  LockAnswer,
  LockOutcome,
  LockRequest,
  ProxyLocks,
  ReleaseRequest,
} from '#nodes/locks/contract.js'
import { type Holder, LockTable } from '#nodes/locks/lock-table.js'

interface Session {
  readonly holder: Holder
  /** The newest request that was granted. */
  granted: number
  /** The newest release of a single lock, and what it said. */
  released: { readonly request: number; readonly wasHeld: boolean }
  /** Ends its wait. */
  giveUp: ((error: Error) => void) | undefined
  isOver: boolean
}

export interface LocalLocks extends ProxyLocks {
  /** Everything that the proxy's sessions hold or wait for. */
  dropProxy(proxy: string): void
  /** Sessions that are over are remembered, so that a request that comes late finds that out; until this is called twice. */
  forgetEnded(): void
  /** Nobody waits any more. */
  close(error: Error): void
}

const answers: Readonly<Record<LockOutcome, LockAnswer>> = {
  held: { outcome: 'held', lease: undefined },
  blocked: { outcome: 'blocked', lease: undefined },
  waited: { outcome: 'waited', lease: undefined },
}

export function createLocalLocks(): LocalLocks {
  const table = new LockTable()
  const proxies = new Map<string, Map<number, Session>>()
  let ended: readonly (readonly [string, number])[] = []
  let endedBefore = ended

  function find(proxy: string, session: number): Session | undefined {
    return proxies.get(proxy)?.get(session)
  }

  function sessionOf({ proxy, session }: Pick<LockRequest, 'proxy' | 'session'>): Session {
    let sessions = proxies.get(proxy)
    if (sessions === undefined) {
      sessions = new Map()
      proxies.set(proxy, sessions)
    }
    let found = sessions.get(session)
    if (found === undefined) {
      found = {
        holder: table.createHolder(proxy),
        granted: 0,
        released: { request: 0, wasHeld: false },
        giveUp: undefined,
        isOver: false,
      }
      sessions.set(session, found)
    }
    return found
  }

  /** A request of before the end of what it was for: whoever asked has gone. */
  function asking(request: LockRequest): Session {
    const session = sessionOf(request)
    const { holder, isOver } = session
    holder.processId = request.processId
    if (!isOver && request.transaction > holder.endedTransaction) return session
    throw new DatabaseError(SqlState.queryCanceled, 'canceling statement: its transaction is over')
  }

  function attempt(request: LockRequest): LockAnswer {
    const session = asking(request)
    if (request.request === session.granted) return answers.held
    if (table.take(session.holder, request) !== undefined) return answers.blocked
    session.granted = request.request
    return answers.held
  }

  async function wait(request: LockRequest, { signal }: Context): Promise<LockAnswer> {
    for (;;) {
      signal.throwIfAborted()
      const session = asking(request)
      if (request.request === session.granted) return answers.held
      const lock = table.take(session.holder, request)
      if (lock === undefined) {
        session.granted = request.request
        return answers.held
      }
      let leave: () => void = () => {}
      let onAbort: () => void = () => {}
      try {
        await new Promise<void>((resolve, reject) => {
          leave = table.enqueue(session.holder, lock, request.mode, resolve)
          session.giveUp = reject
          onAbort = () => reject(signal.reason as Error)
          signal.addEventListener('abort', onAbort, { once: true })
        })
      } finally {
        session.giveUp = undefined
        signal.removeEventListener('abort', onAbort)
        leave()
      }
      if (request.afterWait === 'look') return answers.waited
    }
  }

  function end(proxy: string, id: number, session: Session): void {
    session.isOver = true
    session.giveUp?.(new DatabaseError(SqlState.adminShutdown, 'the session is over'))
    table.release(session.holder, { kind: 'everything' })
    ended = [...ended, [proxy, id]]
  }

  function release({ proxy, session: id, scope, request }: ReleaseRequest): boolean {
    // Of a session that is not known, too: what it has asked for may come later than that it has gone.
    const session = sessionOf({ proxy, session: id })
    if (scope.kind === 'everything') {
      end(proxy, id, session)
      return true
    }
    if (scope.kind !== 'one') return table.release(session.holder, scope)
    if (session.released.request !== request) {
      session.released = { request, wasHeld: table.release(session.holder, scope) }
    }
    return session.released.wasHeld
  }

  return {
    attempt: async (request) => attempt(request),
    wait,
    async taken({ proxy, session, space, names, mode }) {
      return table.taken(find(proxy, session)?.holder, space, names, mode)
    },
    release: async (request) => release(request),
    renew: async () => undefined,
    lease: () => undefined,
    list: async (limit) => table.list(limit),
    dropProxy(proxy) {
      for (const [id, session] of proxies.get(proxy) ?? []) end(proxy, id, session)
      proxies.delete(proxy)
    },
    forgetEnded() {
      for (const [proxy, id] of endedBefore) {
        const sessions = proxies.get(proxy)
        if (sessions?.get(id)?.isOver === true) sessions.delete(id)
        if (sessions?.size === 0) proxies.delete(proxy)
      }
      endedBefore = ended
      ended = []
    },
    close(error) {
      for (const sessions of proxies.values())
        for (const session of sessions.values()) session.giveUp?.(error)
    },
  }
}
