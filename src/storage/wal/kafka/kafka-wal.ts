/**
 * The log in Kafka: one topic of one partition per log channel; a record's position is its offset. Why no transactions of
 * Kafka's are needed for fencing: kafka-record.ts and docs/adr/2026-11-21-log-on-kafka.md.
 */
import { StoreError } from '#base/errors.js'
import { logReadBatchBytes } from '#base/limits.js'
import type { Runtime } from '#base/runtime.js'
import {
  type KafkaClient,
  type KafkaOptions,
  openKafkaClient,
} from '#storage/wal/kafka/kafka-client.js'
import { decodeKafkaRecord, encodeOpen } from '#storage/wal/kafka/kafka-record.js'
import { KafkaWriter } from '#storage/wal/kafka/kafka-writer.js'
import type { LogPosition, LogRecord, Wal, WalWriter } from '#storage/wal/wal.js'

export interface KafkaWalOptions {
  readonly brokers: readonly string[]
  /** Topics are called `<prefix>.<log channel>`; several databases may share a Kafka. */
  readonly prefix: string
  readonly replicationFactor: number
}

const batchBytesMax = 32 * 1024 * 1024
const requestTimeoutMs = 10_000
const openAttemptsMax = 100

/** Connects when it is first needed. */
export function openKafkaWal(options: KafkaWalOptions, runtime: Runtime): Wal {
  const { brokers, replicationFactor, prefix } = options
  const kafka: KafkaOptions = { brokers, replicationFactor, batchBytesMax, requestTimeoutMs }
  return new KafkaWal(openKafkaClient(kafka, runtime), prefix, runtime)
}

class KafkaWal implements Wal {
  readonly #client: KafkaClient
  readonly #prefix: string
  readonly #runtime: Runtime
  readonly #writers = new Set<KafkaWriter>()
  #closed = false

  constructor(client: KafkaClient, prefix: string, runtime: Runtime) {
    this.#client = client
    this.#prefix = prefix
    this.#runtime = runtime
  }

  async openWriter(logChannel: string): Promise<WalWriter> {
    this.#checkOpen()
    const topic = this.#topic(logChannel)
    const terms = `${this.#prefix}.terms`
    await this.#client.ensureTopic(topic)
    await this.#client.ensureTopic(terms)
    for (let attempt = 0; attempt < openAttemptsMax; attempt += 1) {
      const { high } = await this.#client.offsets(topic)
      // Offsets of one topic rise for ever: the term.
      const term = 1 + (await this.#client.produce(terms, [Buffer.from(logChannel)]))
      const opened = await this.#client.produce(topic, [encodeOpen(term)])
      // Who took a later term and was quicker here is deposed now, and so must this one be: terms rise in the log.
      if (await this.#hasLaterTerm(topic, high, opened, term)) continue
      const writer = new KafkaWriter({
        client: this.#client,
        runtime: this.#runtime,
        topic,
        term,
        next: opened + 1,
        batchBytesMax,
      })
      this.#writers.add(writer)
      return writer
    }
    throw new StoreError('determinate', `the log ${logChannel} is opened by others all the time`)
  }

  async #hasLaterTerm(topic: string, from: number, to: number, term: number): Promise<boolean> {
    for (let at = from; at < to; ) {
      const records = await this.#client.fetch(topic, at, logReadBatchBytes)
      for (const { offset, value } of records) {
        if (offset < at || offset >= to) continue
        const record = decodeKafkaRecord(value)
        if (record.kind === 'open' && record.term > term) return true
      }
      at = (records.at(-1)?.offset ?? to) + 1
    }
    return false
  }

  /** What counts, and only whole appends: one that was cut short has no last record where it should be. */
  async *read(logChannel: string, from: LogPosition): AsyncIterable<readonly LogRecord[]> {
    this.#checkOpen()
    const topic = this.#topic(logChannel)
    if (!(await this.#client.exists(topic))) return
    const { low, high } = await this.#client.offsets(topic)
    let at = Math.max(low, from)
    let batch: LogRecord[] = []
    let bytes = 0
    // Of an append whose last record has not come yet.
    let parts: LogRecord[] = []
    let last = -1
    while (at < high) {
      const records = await this.#client.fetch(topic, at, logReadBatchBytes)
      if (records.length === 0) break
      for (const { offset, value } of records) {
        if (offset < at || offset >= high) continue
        const record = decodeKafkaRecord(value)
        if (record.kind === 'open' || record.expected !== offset) {
          parts = []
          continue
        }
        // Of an append that was sent again: its first attempt was cut short.
        if (record.last !== last) parts = []
        last = record.last
        parts.push({ position: offset, payload: record.payload })
        bytes += record.payload.byteLength
        if (record.last !== offset) continue
        batch.push(...parts)
        parts = []
        if (bytes < logReadBatchBytes) continue
        yield batch
        batch = []
        bytes = 0
      }
      at = (records.at(-1)?.offset ?? at) + 1
    }
    if (batch.length > 0) yield batch
  }

  async endPosition(logChannel: string): Promise<LogPosition> {
    this.#checkOpen()
    const topic = this.#topic(logChannel)
    if (!(await this.#client.exists(topic))) return 0
    return (await this.#client.offsets(topic)).high
  }

  async truncate(logChannel: string, before: LogPosition): Promise<void> {
    this.#checkOpen()
    const topic = this.#topic(logChannel)
    if (!(await this.#client.exists(topic))) return
    const { low, high } = await this.#client.offsets(topic)
    if (before > low) await this.#client.deleteRecords(topic, Math.min(before, high))
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#writers].map((writer) => writer.close()))
    await this.#client.close()
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError('determinate', 'the log is closed')
  }

  /** Kafka allows letters, digits, '.', '_' and '-' in a topic's name. */
  #topic(logChannel: string): string {
    const name = Buffer.from(logChannel)
      .toString('latin1')
      .replace(/[^a-zA-Z0-9-]/g, (char) => `_${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
    return `${this.#prefix}.log.${name}`
  }
}
