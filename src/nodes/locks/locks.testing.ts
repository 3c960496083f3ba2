/** Sessions of proxies that ask a lock service directly, for tests. */
import { backgroundContext } from '#base/context.js'
import type { LockAnswer, LockRequest, LockService } from '#nodes/locks/contract.js'

export type Wanted = Partial<LockRequest> & Pick<LockRequest, 'names'>

export class TestSession {
  readonly proxy: string
  readonly session: number
  transaction = 1
  mark = 0
  readonly #service: LockService
  #request = 0

  constructor(service: LockService, proxy: string, session: number) {
    this.#service = service
    this.proxy = proxy
    this.session = session
  }

  request(wanted: Wanted): LockRequest {
    this.#request += 1
    return {
      proxy: this.proxy,
      session: this.session,
      processId: this.session + 100,
      transaction: this.transaction,
      scope: 'transaction',
      mark: this.mark,
      space: 'advisory',
      mode: 'exclusive',
      take: 'each',
      afterWait: 'take',
      request: this.#request,
      ...wanted,
    }
  }

  attempt(wanted: Wanted): Promise<LockAnswer> {
    return this.#service.attempt(this.request(wanted), backgroundContext)
  }

  wait(wanted: Wanted, signal = backgroundContext.signal): Promise<LockAnswer> {
    return this.#service.wait(this.request(wanted), { signal })
  }

  async rollbackTo(mark: number): Promise<void> {
    await this.#release({ kind: 'transaction', transaction: this.transaction, fromMark: mark })
  }

  async end(isUnclear = false): Promise<void> {
    const { transaction } = this
    this.transaction += 1
    await this.#release({ kind: 'transaction', transaction, fromMark: 0 }, isUnclear)
  }

  async releaseOne(name: string, mode: LockRequest['mode'] = 'exclusive'): Promise<boolean> {
    return await this.#release({ kind: 'one', space: 'advisory', name, mode })
  }

  async close(): Promise<void> {
    await this.#release({ kind: 'everything' })
  }

  async #release(
    scope: Parameters<LockService['release']>[0]['scope'],
    isUnclear = false,
  ): Promise<boolean> {
    this.#request += 1
    const { proxy, session } = this
    return await this.#service.release({
      ...{ proxy, session, scope, isUnclear, request: this.#request },
    })
  }
}

/** What has become of it when everything that can happen without time passing has. */
export async function soon<T>(work: Promise<T>): Promise<T | 'waiting'> {
  let settled: { readonly value: T } | undefined
  let failed: { readonly error: unknown } | undefined
  work.then(
    (value) => {
      settled = { value }
    },
    (error: unknown) => {
      failed = { error }
    },
  )
  for (let turn = 0; turn < 50; turn += 1) await null
  if (failed !== undefined) throw failed.error
  return settled === undefined ? 'waiting' : settled.value
}
