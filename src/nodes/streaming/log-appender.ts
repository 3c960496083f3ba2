/**
 * Appends to the log channel, and from where on the log is still needed for what is on its way there.
 * Positions of an append under way are above all that were known when it was called.
 */
import { StoreError } from '#base/errors.js'
import type { LogPosition, WalWriter } from '#storage/wal/wal.js'

const markBytes = 1024 * 1024

export class LogAppender {
  readonly #writer: WalWriter
  /** One past the highest position known. */
  #end: LogPosition
  /** Appends under way: a bound that is at or below their positions. */
  readonly #underWay = new Set<{ readonly from: LogPosition }>()
  /** Bytes appended in all, and how many there were at some positions: how much of the log lies behind one. */
  #bytes = 0
  #marks: { readonly position: LogPosition; readonly bytes: number }[] = []

  readonly #onIndeterminate: (error: unknown) => void

  /** @param onIndeterminate the log may or may not have something: nothing may be appended from here on */
  constructor(writer: WalWriter, end: LogPosition, onIndeterminate: (error: unknown) => void) {
    this.#writer = writer
    this.#end = end
    this.#onIndeterminate = onIndeterminate
  }

  /** Position of the next record. */
  get end(): LogPosition {
    return this.#end
  }

  /** Bytes at or after the last truncation: roughly what replay would read. */
  get bytesHeld(): number {
    return this.#bytes - (this.#marks[0]?.bytes ?? 0)
  }

  /** Bytes that replay has read. */
  noteReplayed(bytes: number): void {
    this.#bytes += bytes
  }

  noteTruncated(before: LogPosition): void {
    const kept = this.#marks.findLast(({ position }) => position <= before)
    if (kept === undefined) return
    this.#marks = this.#marks.filter(({ position }) => position >= kept.position)
  }

  /** A position with no more than `bytes` of the log after it (as far as marks tell). */
  positionWithin(bytes: number): LogPosition {
    const mark = this.#marks.find((candidate) => this.#bytes - candidate.bytes <= bytes)
    return mark?.position ?? this.#end
  }

  #mark(): void {
    const last = this.#marks.at(-1)
    if (last !== undefined && this.#bytes - last.bytes < markBytes) return
    this.#marks.push({ position: this.#end, bytes: this.#bytes })
  }

  get term(): number {
    return this.#writer.term
  }

  /** At or below the position of whatever is appended from now on. */
  get nextBound(): LogPosition {
    return this.#end
  }

  /** All records below have been appended, and their commits entered the queue before whoever asks. */
  get settledBound(): LogPosition {
    let bound = this.#end
    for (const { from } of this.#underWay) if (from < bound) bound = from
    return bound
  }

  /**
   * Writes are called before this returns, in call order.
   * @param onAppended is told the position of the first record in the same step in which it ceases to be under way
   * @throws StoreError
   */
  async append(
    payloads: readonly Uint8Array[],
    onAppended?: (position: LogPosition) => void,
  ): Promise<void> {
    const entry = { from: this.#end }
    this.#underWay.add(entry)
    try {
      this.#mark()
      for (const payload of payloads) this.#bytes += payload.byteLength
      const positions = await this.#writer.append(payloads)
      const last = positions.at(-1) ?? 0
      if (last >= this.#end) this.#end = last + 1
      onAppended?.(positions[0] ?? 0)
    } catch (error) {
      if (!(error instanceof StoreError) || error.outcome !== 'determinate') {
        this.#onIndeterminate(error)
      }
      throw error
    } finally {
      this.#underWay.delete(entry)
    }
  }

  close(): Promise<void> {
    return this.#writer.close()
  }
}
