/**
 * One log channel: a directory of log files and a state file.
 *
 * Invariants: WAL-1 an acknowledged append survives; WAL-2 an append is there whole or not at all; WAL-3 a writer of an
 * old term cannot append.
 * Concurrency: appends that arrive while a sync is under way form the next group: one write, one fdatasync. Groups, new
 * writers and truncation exclude each other, so the term is checked where the write happens.
 * Crash: see recover.ts. Readers only see what is synced.
 * A write that fails is taken back by cutting the file; if that works the append did not happen. If not, or if the sync
 * failed, the channel is broken until the next openWriter, which cuts the file again.
 */
import { type FileHandle, rm } from 'node:fs/promises'
import { Mutex } from '#base/async/mutex.js'
import { InvariantError, invariant, StoreError } from '#base/errors.js'
import {
  logAppendBytesMax,
  logAppendRecordCountMax,
  logGroupBytesMax,
  logInlineWriteBytesMax,
} from '#base/limits.js'
import { syncDirectory, writeAll } from '#storage/durable-files.js'
import { ioError } from '#storage/io-error.js'
import { type ChannelState, writeChannelState } from '#storage/wal/embedded/channel-state.js'
import { encodeFrame, frameBytes } from '#storage/wal/embedded/frame.js'
import { createLogFile, type LogFile, type Mark } from '#storage/wal/embedded/log-file.js'
import { type Recovered, recoverChannel } from '#storage/wal/embedded/recover.js'
import type { LogPosition } from '#storage/wal/wal.js'

export interface LogChannelOptions {
  readonly fileBytesTarget: number
  /** Fresh 32 bits for a log file. */
  readonly newSalt: () => number
}

interface PendingAppend {
  readonly term: number
  readonly payloads: readonly Uint8Array[]
  readonly bytes: number
  readonly resolve: (positions: readonly LogPosition[]) => void
  readonly reject: (error: unknown) => void
}

export class LogChannel {
  readonly #directory: string
  readonly #options: LogChannelOptions
  readonly #exclusive = new Mutex()
  readonly #pending: PendingAppend[] = []
  #pumping: Promise<void> | undefined
  #state: ChannelState
  readonly #files: LogFile[]
  #handle: FileHandle | undefined
  #endPosition: number
  #endOffset: number
  #broken: unknown
  #closed = false

  constructor(directory: string, options: LogChannelOptions, recovered: Recovered) {
    this.#directory = directory
    this.#options = options
    this.#state = { ...recovered.state, term: Math.max(recovered.state.term, recovered.lastTerm) }
    this.#files = recovered.files
    this.#handle = recovered.handle
    this.#endPosition = recovered.endPosition
    this.#endOffset = recovered.endOffset
  }

  /** The directory must exist. @throws DatabaseError XX001 */
  static async open(directory: string, options: LogChannelOptions): Promise<LogChannel> {
    return new LogChannel(directory, options, await recoverChannel(directory))
  }

  get endPosition(): LogPosition {
    return this.#endPosition
  }

  /** Of the last log file. */
  get endOffset(): number {
    return this.#endOffset
  }

  get startPosition(): LogPosition {
    return this.#state.start
  }

  get files(): readonly LogFile[] {
    return this.#files
  }

  /** @returns the new term, durable: no writer before it can append any more (WAL-3). */
  openTerm(): Promise<number> {
    return this.#exclusive.run(async () => {
      if (this.#closed) throw new StoreError('determinate', 'the log is closed')
      if (this.#broken !== undefined) await this.#takeBack()
      await this.#writeState({ ...this.#state, term: this.#state.term + 1, cleanEnd: null })
      return this.#state.term
    })
  }

  append(term: number, payloads: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    return new Promise((resolve, reject) => {
      const bytes = frameBytes(payloads)
      if (bytes > logAppendBytesMax || payloads.length > logAppendRecordCountMax) {
        reject(new StoreError('determinate', `an append of ${bytes} bytes is too large`))
        return
      }
      if (payloads.length === 0) {
        const refusal = this.#refusal(term)
        if (refusal === undefined) resolve([])
        else reject(refusal)
        return
      }
      this.#pending.push({ term, payloads, bytes, resolve, reject })
      this.#pumping ??= this.#pump()
    })
  }

  async #pump(): Promise<void> {
    // One turn of the microtask queue, so that appends of the same tick are one group from the first on.
    await null
    while (this.#pending.length > 0) {
      await this.#exclusive.run(() => this.#writeGroup(this.#takeGroup()))
    }
    this.#pumping = undefined
  }

  #takeGroup(): PendingAppend[] {
    const group: PendingAppend[] = []
    let bytes = 0
    while (this.#pending.length > 0) {
      const next = this.#pending[0]
      if (next === undefined || (group.length > 0 && bytes + next.bytes > logGroupBytesMax)) break
      this.#pending.shift()
      const refusal = this.#refusal(next.term)
      if (refusal !== undefined) {
        next.reject(refusal)
        continue
      }
      group.push(next)
      bytes += next.bytes
    }
    return group
  }

  #refusal(term: number): StoreError | undefined {
    if (this.#closed) return new StoreError('determinate', 'the log is closed')
    if (term !== this.#state.term) {
      return new StoreError(
        'determinate',
        `WAL-3: a writer of term ${term} cannot append, the term is ${this.#state.term}`,
      )
    }
    if (this.#broken === undefined) return undefined
    return new StoreError('determinate', 'the log writer is broken: open a new one', this.#broken)
  }

  /** Writes the group, syncs, acknowledges. Never throws: each append gets its answer. */
  async #writeGroup(group: readonly PendingAppend[]): Promise<void> {
    if (group.length === 0) return
    let durable: { position: number; offset: number }
    try {
      durable = await this.#writeAndSync(group)
    } catch (error) {
      const failure = await this.#failed(error)
      for (const append of group) append.reject(failure)
      return
    }
    let position = this.#endPosition
    this.#endPosition = durable.position
    this.#endOffset = durable.offset
    for (const append of group) {
      append.resolve(append.payloads.map((_, ordinal) => position + ordinal))
      position += append.payloads.length
    }
    invariant('WAL-1', position === durable.position, 'what is acknowledged is what was synced')
  }

  async #writeAndSync(group: readonly PendingAppend[]) {
    const bytes = group.reduce((sum, append) => sum + append.bytes, 0)
    const { file, handle } = await this.#fileFor(bytes)
    const { salt } = file
    invariant('WAL-2', salt !== undefined, 'a log file that is written to has a salt')
    const parts: Uint8Array[] = []
    const marks: Mark[] = []
    let position = this.#endPosition
    let offset = this.#endOffset
    for (const { term, payloads, bytes: appendBytes } of group) {
      const fields = { firstPosition: position, durablePosition: this.#endPosition, term }
      encodeFrame(payloads, { ...fields, salt }, parts)
      marks.push({ position, offset })
      position += payloads.length
      offset += appendBytes
    }
    await writeAll(handle, parts, this.#endOffset, bytes <= logInlineWriteBytesMax)
    try {
      await handle.datasync()
    } catch (error) {
      this.#broken = error
      throw error
    }
    for (const mark of marks) file.mark(mark.position, mark.offset)
    return { position, offset }
  }

  /** The last log file if the bytes fit, otherwise a new one. */
  async #fileFor(bytes: number): Promise<{ file: LogFile; handle: FileHandle }> {
    const file = this.#files.at(-1)
    const isFull =
      this.#endPosition > (file?.base ?? 0) &&
      this.#endOffset + bytes > this.#options.fileBytesTarget
    if (file !== undefined && this.#handle !== undefined && !isFull) {
      return { file, handle: this.#handle }
    }
    return await this.#beginFile()
  }

  async #beginFile(): Promise<{ file: LogFile; handle: FileHandle }> {
    const salt = this.#options.newSalt()
    const created = await createLogFile(this.#directory, this.#endPosition, salt)
    await this.#handle?.close()
    this.#files.push(created.file)
    this.#handle = created.handle
    this.#endOffset = created.file.markBefore(this.#endPosition).offset
    return created
  }

  /** After a failed write: cuts off what may have been written. */
  async #failed(error: unknown): Promise<unknown> {
    if (error instanceof InvariantError) return error
    const syncFailed = this.#broken !== undefined
    try {
      await this.#takeBack()
    } catch (takeBackError) {
      this.#broken = takeBackError
    }
    // After a failed sync the kernel may call clean what never reached the disk: better not go on without being told.
    if (syncFailed) this.#broken = error
    const outcome = this.#broken === undefined ? 'determinate' : 'indeterminate'
    return ioError(outcome, `could not write to log "${this.#directory}"`, error)
  }

  /** Nothing after the end was acknowledged, so it may be cut off. */
  async #takeBack(): Promise<void> {
    await this.#handle?.truncate(this.#endOffset)
    await this.#handle?.datasync()
    this.#broken = undefined
  }

  /** Forgets records before the position and removes the log files that hold nothing else. */
  async truncate(before: LogPosition): Promise<void> {
    const forgotten = await this.#exclusive.run(() => this.#forget(before))
    // Freeing the blocks can take a while, and appends need not wait: the state says already that these are forgotten.
    for (const file of forgotten) await rm(file.path, { force: true })
    if (forgotten.length > 0) await syncDirectory(this.#directory)
  }

  async #forget(before: LogPosition): Promise<LogFile[]> {
    if (this.#closed) throw new StoreError('determinate', 'the log is closed')
    const start = Math.min(before, this.#endPosition)
    if (start <= this.#state.start) return []
    await this.#writeState({ ...this.#state, start })
    const last = this.#files.at(-1)
    if (start === this.#endPosition && last !== undefined && last.base < start) {
      await this.#beginFile()
    }
    const kept = this.#files.findIndex(
      (_, ordinal) => (this.#files[ordinal + 1]?.base ?? Number.POSITIVE_INFINITY) > start,
    )
    return this.#files.splice(0, kept)
  }

  async #writeState(state: ChannelState): Promise<void> {
    try {
      await writeChannelState(this.#directory, state)
    } catch (error) {
      throw ioError('indeterminate', `could not write state of log "${this.#directory}"`, error)
    }
    this.#state = state
  }

  /** Waits for the appends under way and notes that the log ends here on purpose. */
  async close(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping
    await this.#exclusive.run(async () => {
      if (this.#closed) return
      this.#closed = true
      if (this.#broken === undefined) {
        await this.#writeState({ ...this.#state, cleanEnd: this.#endPosition })
      }
      await this.#handle?.close()
      this.#handle = undefined
    })
  }
}
