/**
 * Appends to a topic that nobody else should be appending to.
 *
 * One request is under way at a time; appends that come meanwhile go together in the next. A request whose outcome is not
 * known is looked for in the log and sent again if it is not there: should the first one arrive later after all, it comes out
 * at other offsets than it says, and does not count.
 */
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { KafkaClient } from '#storage/wal/kafka/kafka-client.js'
import {
  appendHeaderBytes,
  decodeKafkaRecord,
  encodeAppend,
} from '#storage/wal/kafka/kafka-record.js'
import type { LogPosition, WalWriter } from '#storage/wal/wal.js'

interface KafkaWriterOptions {
  readonly client: KafkaClient
  readonly runtime: Runtime
  readonly topic: string
  readonly term: number
  /** Offset that its next record should get. */
  readonly next: number
  readonly batchBytesMax: number
}

interface PendingAppend {
  readonly payloads: readonly Uint8Array[]
  readonly bytes: number
  readonly resolve: (positions: readonly LogPosition[]) => void
  readonly reject: (error: unknown) => void
}

/** What Kafka adds to a record at most (varints of lengths, offset and time). */
const recordOverheadBytes = 32
/** How long a request that fails is tried again: a broker's restart or a new leader takes seconds. */
const retryForMs = 20_000
const retryPauseMs = 200

export class KafkaWriter implements WalWriter {
  readonly term: number
  readonly #options: KafkaWriterOptions
  #next: number
  readonly #pending: PendingAppend[] = []
  #sending: Promise<void> | undefined
  /** Why nothing can be appended any more. */
  #ended: StoreError | undefined

  constructor(options: KafkaWriterOptions) {
    this.#options = options
    this.term = options.term
    this.#next = options.next
  }

  append(payloads: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (payloads.length === 0) return Promise.resolve([])
    const { batchBytesMax } = this.#options
    let bytes = 0
    for (const payload of payloads) {
      const size = payload.byteLength + appendHeaderBytes + recordOverheadBytes
      if (size > batchBytesMax) {
        const words = `a record of ${payload.byteLength} bytes is larger than Kafka is asked to take (${batchBytesMax})`
        return Promise.reject(new StoreError('determinate', words))
      }
      bytes += size
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ payloads, bytes, resolve, reject })
      this.#sending ??= this.#sendAll()
    })
  }

  async close(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending
    this.#ended ??= new StoreError('determinate', 'the log is closed')
  }

  async #sendAll(): Promise<void> {
    // Whoever calls append in the same step goes along.
    await null
    while (this.#pending.length > 0) {
      const group = this.#takeGroup()
      try {
        const first = await this.#send(group)
        let at = first
        for (const { payloads, resolve } of group) {
          const from = at
          resolve(payloads.map((_, i) => from + i))
          at += payloads.length
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
    this.#sending = undefined
  }

  /** Several appends only if they fit one batch: of a group in several batches the beginning may be all that arrives. */
  #takeGroup(): PendingAppend[] {
    let bytes = 0
    let count = 0
    for (const append of this.#pending) {
      if (count > 0 && bytes + append.bytes > this.#options.batchBytesMax) break
      bytes += append.bytes
      count += 1
    }
    return this.#pending.splice(0, count)
  }

  /** @returns offset of the first record. @throws StoreError: fenced, refused, or not known */
  async #send(group: readonly PendingAppend[]): Promise<number> {
    const { runtime } = this.#options
    const deadlineMs = runtime.monotonicMs() + retryForMs
    let unclear = false
    for (;;) {
      const first = this.#next
      const batches = encodeGroup(group, first, this.#options.batchBytesMax)
      const count = batches.reduce((sum, batch) => sum + batch.length, 0)
      try {
        if (await this.#sendBatches(batches)) {
          this.#next = first + count
          return first
        }
        // It came out elsewhere: somebody else was there.
        unclear = true
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        if (runtime.monotonicMs() >= deadlineMs) {
          throw unclear ? new StoreError('indeterminate', error.message, error) : error
        }
        if (error.outcome === 'indeterminate') unclear = true
        await runtime.sleep(retryPauseMs)
      }
      if (!unclear) continue
      const found = await this.#look(first, count, deadlineMs)
      if (found === 'there') return first
    }
  }

  /** @returns false when a batch came out at another offset than expected: what is in the log of the group does not count */
  async #sendBatches(batches: readonly (readonly Buffer[])[]): Promise<boolean> {
    let expected = this.#next
    for (const batch of batches) {
      if ((await this.#options.client.produce(this.#options.topic, batch)) !== expected)
        return false
      expected += batch.length
    }
    return true
  }

  /**
   * What lies at and after the offset: all of the group where it should be, or not (of a group in several batches whose
   * beginning alone is there nothing counts). Goes on behind the end of the log, which is seen to be free of other writers.
   * @throws StoreError determinate when another writer was opened before the group was there
   */
  async #look(first: number, count: number, deadlineMs: number): Promise<'there' | 'absent'> {
    const { client, topic, runtime, batchBytesMax } = this.#options
    for (;;) {
      try {
        const { high } = await client.offsets(topic)
        let own = 0
        let at = first
        let isFenced = false
        while (at < high) {
          const records = await client.fetch(topic, at, batchBytesMax)
          if (records.length === 0)
            throw new StoreError('determinate', 'the log ends before its end')
          for (const { offset, value } of records) {
            if (offset < at) continue
            const record = decodeKafkaRecord(value)
            if (record.kind === 'open') isFenced = true
            else if (!isFenced && record.expected === offset && offset < first + count) own += 1
          }
          at = (records.at(-1)?.offset ?? at) + 1
        }
        if (isFenced)
          this.#ended = new StoreError(
            'determinate',
            'WAL-3: another writer has taken over the log',
          )
        this.#next = high
        if (own === count) return 'there'
        if (this.#ended !== undefined) throw this.#ended
        return 'absent'
      } catch (error) {
        if (this.#ended !== undefined || runtime.monotonicMs() >= deadlineMs) {
          throw this.#ended ?? new StoreError('indeterminate', 'the log does not answer', error)
        }
        await runtime.sleep(retryPauseMs)
      }
    }
  }
}

/** Records of the group from the offset on, in batches that Kafka takes whole. An append may lie in several. */
function encodeGroup(
  group: readonly PendingAppend[],
  first: number,
  batchBytesMax: number,
): readonly (readonly Buffer[])[] {
  const batches: Buffer[][] = [[]]
  let bytes = 0
  let offset = first
  for (const { payloads } of group) {
    const last = offset + payloads.length - 1
    for (const payload of payloads) {
      const record = encodeAppend(offset, last, payload)
      const size = record.byteLength + recordOverheadBytes
      if (bytes > 0 && bytes + size > batchBytesMax) {
        batches.push([])
        bytes = 0
      }
      batches.at(-1)?.push(record)
      bytes += size
      offset += 1
    }
  }
  return batches
}
