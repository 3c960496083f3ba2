/**
 * The log over object storage alone: no service but S3, at the price of its latency (what Milvus calls a zero-disk log).
 *
 * `<prefix>/<log channel>/<number>`: objects numbered without gaps, each put only if it is absent. So each number is one
 * writer's: whoever opens a writer takes the next number with an object of its own, and the writer before it, which goes on at
 * that number, finds it taken (WAL-3). A put whose outcome is not known is repeated: the number is free, or taken by this put,
 * or by another writer. A record's position is its object's number × 2^20 + its place in it.
 * `<prefix>/<log channel>.start` holds the position before which everything is forgotten.
 */
import { invariant, StoreError } from '#base/errors.js'
import { logAppendRecordCountMax } from '#base/limits.js'
import type { Runtime } from '#base/runtime.js'
import type { RemoteObjects } from '#storage/objects/objects.js'
import {
  decodeLogObject,
  encodeLogObject,
  type LogObject,
  openObjectBytes,
  putIdBytes,
} from '#storage/wal/objects/log-object.js'
import { ObjectWriter } from '#storage/wal/objects/object-writer.js'
import type { LogPosition, LogRecord, Wal, WalWriter } from '#storage/wal/wal.js'

/** Positions are exact numbers up to 2^53: 2^33 objects. */
const positionsPerObject = logAppendRecordCountMax
const numberDigits = 12
const openAttemptsMax = 100

interface NumberedObject {
  readonly number: number
  readonly hasRecords: boolean
}

/** The object store is closed by whoever opened it, after this. */
export function openObjectWal(objects: RemoteObjects, prefix: string, runtime: Runtime): Wal {
  return new ObjectWal(objects, prefix, runtime)
}

class ObjectWal implements Wal {
  readonly #objects: RemoteObjects
  readonly #prefix: string
  readonly #runtime: Runtime
  readonly #writers = new Set<ObjectWriter>()
  #closed = false

  constructor(objects: RemoteObjects, prefix: string, runtime: Runtime) {
    this.#objects = objects
    this.#prefix = prefix
    this.#runtime = runtime
  }

  async openWriter(logChannel: string): Promise<WalWriter> {
    for (let attempt = 0; attempt < openAttemptsMax; attempt += 1) {
      this.#checkOpen()
      const last = (await this.#list(logChannel)).at(-1)?.number
      const before = last === undefined ? undefined : await this.#find(logChannel, last)
      if (last !== undefined && before === undefined) throw this.#gone(logChannel, last)
      const term = (before?.term ?? 0) + 1
      const number = (last ?? 0) + 1
      const opened = encodeLogObject({
        kind: 'open',
        term,
        putId: this.#runtime.randomBytes(putIdBytes),
        payloads: [],
      })
      const outcome = await this.#objects.put(this.#name(logChannel, number), opened, {
        ifAbsent: true,
      })
      if (outcome === 'exists') continue
      const writer = new ObjectWriter({
        objects: this.#objects,
        runtime: this.#runtime,
        term,
        next: number + 1,
        nameOf: (taken) => this.#name(logChannel, taken),
        positionOf: (taken, record) => taken * positionsPerObject + record,
      })
      this.#writers.add(writer)
      return writer
    }
    throw new StoreError('determinate', `the log ${logChannel} is written by others all the time`)
  }

  async *read(logChannel: string, from: LogPosition): AsyncIterable<readonly LogRecord[]> {
    this.#checkOpen()
    const begin = Math.max(from, await this.#start(logChannel))
    for (const { number, hasRecords } of await this.#list(logChannel)) {
      if (!hasRecords || (number + 1) * positionsPerObject <= begin) continue
      const found = await this.#find(logChannel, number)
      if (found === undefined) {
        // Truncated since it was listed.
        if ((number + 1) * positionsPerObject <= (await this.#start(logChannel))) continue
        throw this.#gone(logChannel, number)
      }
      const { payloads } = found
      const records = payloads
        .map((payload, i) => ({ position: number * positionsPerObject + i, payload }))
        .filter(({ position }) => position >= begin)
      if (records.length > 0) yield records
    }
  }

  async endPosition(logChannel: string): Promise<LogPosition> {
    this.#checkOpen()
    const last = (await this.#list(logChannel)).at(-1)?.number
    return last === undefined ? 0 : (last + 1) * positionsPerObject
  }

  async truncate(logChannel: string, before: LogPosition): Promise<void> {
    this.#checkOpen()
    const found = await this.#list(logChannel)
    const last = found.at(-1)?.number
    if (last === undefined || before <= (await this.#start(logChannel))) return
    const start = Math.min(before, (last + 1) * positionsPerObject)
    await this.#objects.put(this.#startName(logChannel), Buffer.from(String(start)))
    // The last one stays: it says where the numbers go on.
    for (const { number, hasRecords } of found) {
      if (number === last || (number + 1) * positionsPerObject > start) break
      if (hasRecords) await this.#objects.delete(this.#name(logChannel, number))
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#writers].map((writer) => writer.close()))
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError('determinate', 'the log is closed')
  }

  /** Rising. */
  async #list(logChannel: string): Promise<readonly NumberedObject[]> {
    const found: NumberedObject[] = []
    const prefix = `${this.#folder(logChannel)}/`
    for await (const { name, size } of this.#objects.list(prefix)) {
      found.push({ number: Number(name.slice(prefix.length)), hasRecords: size > openObjectBytes })
    }
    return found
  }

  async #find(logChannel: string, number: number): Promise<LogObject | undefined> {
    const name = this.#name(logChannel, number)
    const bytes = await this.#objects.get(name)
    return bytes === undefined ? undefined : decodeLogObject(name, bytes)
  }

  #gone(logChannel: string, number: number): StoreError {
    return new StoreError(
      'determinate',
      `object "${this.#name(logChannel, number)}" of the log is gone`,
    )
  }

  async #start(logChannel: string): Promise<LogPosition> {
    const bytes = await this.#objects.get(this.#startName(logChannel))
    const start = bytes === undefined ? 0 : Number(Buffer.from(bytes).toString())
    invariant('WAL-4', Number.isSafeInteger(start), 'the start of the log is no position')
    return start
  }

  #startName(logChannel: string): string {
    return `${this.#folder(logChannel)}.start`
  }

  #name(logChannel: string, number: number): string {
    return `${this.#folder(logChannel)}/${String(number).padStart(numberDigits, '0')}`
  }

  /** Any name as one part of an object's name. */
  #folder(logChannel: string): string {
    return `${this.#prefix}/c${encodeURIComponent(logChannel)}`
  }
}
