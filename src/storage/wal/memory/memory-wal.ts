/**
 * The log in memory, for tests and the simulator. The disk outlives its handles: each simulated process opens the same disk,
 * crashes, and opens it again. One disk may be shared by several processes, as Kafka is.
 *
 * Fault model: see faults.ts; and an append is first written, later synced (delayAfterMs); crash() loses what this handle has not
 * synced but for as many of the oldest appends as the caller says.
 */
import { Mutex } from '#base/async/mutex.js'
import { invariant, StoreError } from '#base/errors.js'
import { logReadBatchBytes } from '#base/limits.js'
import { FaultyPath, faultError, type MemoryStoreOptions, noFaults } from '#storage/faults.js'
import type { LogPosition, LogRecord, Wal, WalWriter } from '#storage/wal/wal.js'

interface WrittenAppend {
  readonly owner: FaultyPath
  readonly records: readonly LogRecord[]
}

class MemoryChannel {
  term = 0
  start = 0
  /** Durable, readable. */
  readonly synced: (readonly LogRecord[])[] = []
  /** Written in order, not yet durable. */
  unsynced: WrittenAppend[] = []
  #end = 0

  get end(): LogPosition {
    return this.#end
  }

  /** @returns positions of what is written at the end. */
  write(owner: FaultyPath, payloads: readonly Uint8Array[]): WrittenAppend {
    let position = this.#end
    for (const { records } of this.unsynced) position += records.length
    const records = payloads.map((payload, ordinal) => ({
      position: position + ordinal,
      payload: new Uint8Array(payload),
    }))
    const append = { owner, records }
    this.unsynced.push(append)
    return append
  }

  /** Makes the append durable and all that were written before it. */
  sync(append: WrittenAppend | undefined): void {
    const count = append === undefined ? this.unsynced.length : this.unsynced.indexOf(append) + 1
    for (const { records } of this.unsynced.splice(0, count)) {
      invariant('WAL-1', records[0]?.position === this.#end, 'appends are synced in order')
      this.synced.push(records)
      this.#end += records.length
    }
  }
}

export class MemoryWalDisk {
  readonly #channels = new Map<string, MemoryChannel>()

  channel(logChannel: string): MemoryChannel {
    const found = this.#channels.get(logChannel)
    if (found !== undefined) return found
    const made = new MemoryChannel()
    this.#channels.set(logChannel, made)
    return made
  }

  channels(): Iterable<[string, MemoryChannel]> {
    return this.#channels
  }
}

/** How many of the `unsyncedCount` oldest unsynced appends of a log channel a crash leaves on the disk. */
export type CrashSurvivors = (logChannel: string, unsyncedCount: number) => number

export class MemoryWal implements Wal {
  readonly #disk: MemoryWalDisk
  readonly #path: FaultyPath

  constructor(disk: MemoryWalDisk, options: MemoryStoreOptions) {
    this.#disk = disk
    this.#path = new FaultyPath(options.runtime, options.faults ?? noFaults)
  }

  async openWriter(logChannel: string): Promise<WalWriter> {
    const channel = this.#disk.channel(logChannel)
    return await this.#path.write('wal.openWriter', logChannel, () => {
      // What an earlier writer has written is settled before the new one begins.
      channel.sync(undefined)
      channel.term += 1
      return new MemoryWalWriter(channel, this.#path, logChannel, channel.term)
    })
  }

  async *read(logChannel: string, from: LogPosition): AsyncIterable<readonly LogRecord[]> {
    const channel = this.#disk.channel(logChannel)
    const appends = await this.#path.read('wal.read', logChannel, () => [...channel.synced])
    let batch: LogRecord[] = []
    let batchBytes = 0
    for (const append of appends) {
      const wanted = append.filter(({ position }) => position >= Math.max(from, channel.start))
      const bytes = wanted.reduce((sum, { payload }) => sum + payload.length, 0)
      if (batch.length > 0 && batchBytes + bytes > logReadBatchBytes) {
        yield batch
        await this.#path.read('wal.read', logChannel, () => undefined)
        batch = []
        batchBytes = 0
      }
      for (const record of wanted) batch.push(record)
      batchBytes += bytes
    }
    if (batch.length > 0) yield batch
  }

  async endPosition(logChannel: string): Promise<LogPosition> {
    const channel = this.#disk.channel(logChannel)
    return await this.#path.read('wal.endPosition', logChannel, () => channel.end)
  }

  async truncate(logChannel: string, before: LogPosition): Promise<void> {
    const channel = this.#disk.channel(logChannel)
    await this.#path.write('wal.truncate', logChannel, () => {
      channel.start = Math.max(channel.start, Math.min(before, channel.end))
      const kept = channel.synced.findIndex((records) => (records.at(-1)?.position ?? 0) >= before)
      channel.synced.splice(0, kept < 0 ? channel.synced.length : kept)
    })
  }

  /** The process dies: nothing under way gets an answer. The disk stays usable by others. */
  crash(survivors: CrashSurvivors = () => 0): void {
    this.#path.end('crashed')
    for (const [logChannel, channel] of this.#disk.channels()) {
      const own = channel.unsynced.filter(({ owner }) => owner === this.#path)
      if (own.length === 0) continue
      const last = own[survivors(logChannel, own.length) - 1]
      if (last !== undefined) channel.sync(last)
      channel.unsynced = channel.unsynced.filter(({ owner }) => owner !== this.#path)
    }
  }

  async close(): Promise<void> {
    for (const [, channel] of this.#disk.channels()) channel.sync(channel.unsynced.at(-1))
    this.#path.end('closed')
  }
}

class MemoryWalWriter implements WalWriter {
  readonly term: number
  readonly #channel: MemoryChannel
  readonly #path: FaultyPath
  readonly #logChannel: string
  /** Of this writer's appends. Not of the channel: a process that dies in between must not hold up its successor. */
  readonly #exclusive = new Mutex()
  #closed = false
  #broken = false

  constructor(channel: MemoryChannel, path: FaultyPath, logChannel: string, term: number) {
    this.#channel = channel
    this.#path = path
    this.#logChannel = logChannel
    this.term = term
  }

  async append(payloads: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    const { kind, delayBeforeMs, delayAfterMs } = this.#path.decide('wal.append', this.#logChannel)
    if (this.#closed) throw new StoreError('determinate', 'the log writer is closed')
    // One after the other, so that positions are in the order of the calls.
    const append = await this.#exclusive.run(async () => {
      await this.#path.delay(delayBeforeMs)
      this.#path.checkOpen()
      this.#checkMayAppend()
      if (kind === 'refused') throw faultError(kind, 'wal.append')
      if (kind !== 'none') this.#broken = true
      if (kind === 'lost') throw faultError(kind, 'wal.append')
      return payloads.length === 0 ? undefined : this.#channel.write(this.#path, payloads)
    })
    await this.#path.delay(delayAfterMs)
    this.#path.checkAnswer()
    if (append !== undefined) this.#channel.sync(append)
    if (kind === 'done-unknown') throw faultError(kind, 'wal.append')
    return (append?.records ?? []).map(({ position }) => position)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#exclusive.run(async () => {})
  }

  #checkMayAppend(): void {
    if (this.term !== this.#channel.term) {
      throw new StoreError(
        'determinate',
        `WAL-3: a writer of term ${this.term} cannot append, the term is ${this.#channel.term}`,
      )
    }
    if (this.#broken) {
      throw new StoreError('determinate', 'the log writer is broken: open a new one')
    }
  }
}
