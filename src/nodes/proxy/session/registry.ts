/** All sessions of this proxy: pg_stat_activity, LISTEN/NOTIFY, pg_cancel_backend and pg_terminate_backend. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { ClientPort } from '#net/pgwire/session.js'
import type { SessionFact } from '#nodes/proxy/contract.js'

export interface SessionEntry {
  /** See nextNumber(). */
  readonly number: number
  readonly processId: number
  readonly user: string
  readonly database: string
  readonly client: ClientPort
  readonly listening: Set<string>
  readonly remoteHost: string
  readonly remotePort: number
  readonly startedMs: number
  applicationName(): string
  activity(): SessionActivity
}

export interface SessionActivity {
  readonly running: RunningStatement
  /** Of an open block. */
  readonly transactionStartMs: number | undefined
}

export interface RunningStatement {
  /** The last statement, running or not. */
  readonly sql: string
  readonly active: boolean
  /** 0: none yet. */
  readonly startedMs: number
}

export class SessionRegistry {
  readonly #entries = new Map<number, SessionEntry>()

  #lastNumber = 0

  /** Of a session: unlike its process id, no other session of this proxy has ever had it. */
  nextNumber(): number {
    this.#lastNumber += 1
    return this.#lastNumber
  }

  add(entry: SessionEntry): void {
    this.#entries.set(entry.processId, entry)
  }

  remove(processId: number): void {
    this.#entries.delete(processId)
  }

  get(processId: number): SessionEntry | undefined {
    return this.#entries.get(processId)
  }

  entries(): readonly SessionEntry[] {
    return [...this.#entries.values()]
  }

  facts(): readonly SessionFact[] {
    return this.entries().map((entry) => {
      const { running, transactionStartMs } = entry.activity()
      const idle = transactionStartMs === undefined ? 'idle' : 'idle in transaction'
      return {
        processId: entry.processId,
        user: entry.user,
        applicationName: entry.applicationName(),
        remoteHost: entry.remoteHost,
        remotePort: entry.remotePort,
        startedMs: entry.startedMs,
        transactionStartMs,
        queryStartMs: running.startedMs,
        state: running.active ? 'active' : idle,
        sql: running.sql,
      }
    })
  }

  /** pg_cancel_backend, pg_terminate_backend. @returns false: it is not here */
  signal(processId: number, signal: 'cancel' | 'terminate'): boolean {
    const client = this.#entries.get(processId)?.client
    if (signal === 'cancel') client?.cancel()
    else client?.terminate(terminated())
    return client !== undefined
  }

  notify(from: number, channel: string, payload: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.listening.has(channel)) entry.client.notify(from, channel, payload)
    }
  }
}

function terminated(): DatabaseError {
  return new DatabaseError(
    SqlState.adminShutdown,
    'terminating connection due to administrator command',
  )
}
