/** Appends by putting the next number. One put is under way at a time; what comes meanwhile goes together in the next. */
import { StoreError } from '#base/errors.js'
import { logAppendRecordCountMax, logGroupBytesMax } from '#base/limits.js'
import type { Runtime } from '#base/runtime.js'
import type { RemoteObjects } from '#storage/objects/objects.js'
import { decodeLogObject, encodeLogObject, putIdBytes } from '#storage/wal/objects/log-object.js'
import type { LogPosition, WalWriter } from '#storage/wal/wal.js'

interface ObjectWriterOptions {
  readonly objects: RemoteObjects
  readonly runtime: Runtime
  readonly term: number
  /** Number of its next object. */
  readonly next: number
  readonly nameOf: (number: number) => string
  readonly positionOf: (number: number, record: number) => LogPosition
}

interface PendingAppend {
  readonly payloads: readonly Uint8Array[]
  readonly bytes: number
  readonly resolve: (positions: readonly LogPosition[]) => void
  readonly reject: (error: unknown) => void
}

/** How long a put that fails is tried again: a store that throttles or restarts takes seconds. */
const retryForMs = 20_000
const retryPauseMs = 100

export class ObjectWriter implements WalWriter {
  readonly term: number
  readonly #options: ObjectWriterOptions
  readonly #pending: PendingAppend[] = []
  #next: number
  #putting: Promise<void> | undefined
  /** Why nothing can be appended any more. */
  #ended: StoreError | undefined

  constructor(options: ObjectWriterOptions) {
    this.#options = options
    this.term = options.term
    this.#next = options.next
  }

  append(payloads: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (payloads.length === 0) return Promise.resolve([])
    if (payloads.length > logAppendRecordCountMax) {
      return Promise.reject(new StoreError('determinate', 'too many records in one append'))
    }
    const bytes = payloads.reduce((sum, payload) => sum + payload.byteLength, 0)
    return new Promise((resolve, reject) => {
      this.#pending.push({ payloads, bytes, resolve, reject })
      this.#putting ??= this.#putAll()
    })
  }

  async close(): Promise<void> {
    while (this.#putting !== undefined) await this.#putting
    this.#ended ??= new StoreError('determinate', 'the log is closed')
  }

  async #putAll(): Promise<void> {
    // Whoever calls append in the same step goes along.
    await null
    while (this.#pending.length > 0) {
      const group = this.#takeGroup()
      const number = this.#next
      try {
        await this.#put(number, group)
        this.#next = number + 1
        let record = 0
        for (const { payloads, resolve } of group) {
          const from = record
          resolve(payloads.map((_, i) => this.#options.positionOf(number, from + i)))
          record += payloads.length
        }
      } catch (error) {
        for (const { reject } of group) reject(error)
        if (!(error instanceof StoreError) || error.outcome === 'indeterminate') {
          this.#ended ??= new StoreError('determinate', 'the log is in an unknown state', error)
        }
      }
      // Those behind it were never sent.
      if (this.#ended !== undefined) {
        for (const { reject } of this.#pending.splice(0)) reject(this.#ended)
      }
    }
    // In the same step as the queue was seen empty: who appends next starts again.
    this.#putting = undefined
  }

  #takeGroup(): PendingAppend[] {
    let bytes = 0
    let records = 0
    let count = 0
    for (const append of this.#pending) {
      bytes += append.bytes
      records += append.payloads.length
      if (count > 0 && (bytes > logGroupBytesMax || records > logAppendRecordCountMax)) break
      count += 1
    }
    return this.#pending.splice(0, count)
  }

  /** @throws StoreError: fenced or refused (determinate), or not known */
  async #put(number: number, group: readonly PendingAppend[]): Promise<void> {
    const { objects, runtime, term, nameOf } = this.#options
    const putId = runtime.randomBytes(putIdBytes)
    const payloads = group.flatMap((append) => append.payloads)
    const bytes = encodeLogObject({ kind: 'records', term, putId, payloads })
    const name = nameOf(number)
    const deadlineMs = runtime.monotonicMs() + retryForMs
    let isUnclear = false
    for (;;) {
      try {
        if ((await objects.put(name, bytes, { ifAbsent: true })) === 'stored') return
        const found = await objects.get(name)
        // Only what others have written and truncated since can be gone.
        const isOwn =
          found !== undefined && Buffer.compare(decodeLogObject(name, found).putId, putId) === 0
        if (isOwn) return
        this.#ended = new StoreError('determinate', 'WAL-3: another writer has taken over the log')
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        if (error.outcome === 'indeterminate') isUnclear = true
        if (runtime.monotonicMs() >= deadlineMs) {
          throw isUnclear ? new StoreError('indeterminate', error.message, error) : error
        }
        await runtime.sleep(retryPauseMs)
      }
      if (this.#ended !== undefined) throw this.#ended
    }
  }
}
