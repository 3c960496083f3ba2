/**
 * One segment on one query node: brought to where it should be, and its deletes delivered, whatever the node forgets.
 *
 * 1. Load what the segment's manifest names. 2. From then on deliver the segment's deletes, in order, each counted when the
 * node has it. 3. A node that says 55000 has forgotten: 1 again, all deletes with it. 4. Unwanted: release.
 *
 * Concurrency: one loop of loading and releasing, one of delivering; `life` tells a delivery that it is not wanted any more.
 */
import type { Runtime } from '#base/runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { errorKind } from '#nodes/query/placed/error-kind.js'
import type { PlacedNode } from '#nodes/query/placed/node.js'

const retryMsFirst = 20
const retryMsMax = 2000

/** What is to be on the node. */
export interface Wanted {
  readonly segmentId: number
  readonly manifest: SegmentManifest
  readonly schema: TableSchema
  readonly when: 'now' | 'when read'
  readonly deleteCount: number
  deletesFrom(from: number): {
    readonly rowIds: Float64Array
    readonly at: Timestamp
    readonly count: number
  }
}

export class Replica {
  readonly node: PlacedNode
  isWanted = true
  /** The node has this. */
  manifest: SegmentManifest | undefined
  /** Deletes of the segment that the node has. */
  deliveredCount = 0
  /** Why it could not be loaded, as of the last attempt. */
  error: unknown
  readonly #segment: Wanted
  readonly #runtime: Runtime
  readonly #onChange: () => void
  #loop: Promise<void> | undefined
  #delivery: Promise<void> | undefined
  #life = 0
  /** The node may hold something of it. */
  #isPresent = false

  constructor(segment: Wanted, node: PlacedNode, runtime: Runtime, onChange: () => void) {
    this.node = node
    this.#segment = segment
    this.#runtime = runtime
    this.#onChange = onChange
  }

  /** Nothing of it is left on the node, or the node is gone. */
  get isOver(): boolean {
    return this.node.isGone || (!this.isWanted && !this.#isPresent && this.#loop === undefined)
  }

  canAnswer(deleteCount: number): boolean {
    return this.manifest !== undefined && !this.node.isGone && this.deliveredCount >= deleteCount
  }

  /** Goes on until the node has what is wanted. @returns when it has, or there is nothing more to do */
  settle(): Promise<void> {
    if (this.#loop === undefined && this.#isSettled()) return Promise.resolve()
    this.#loop ??= this.#work().finally(() => {
      this.#loop = undefined
      if (!this.node.isGone && !this.#isSettled()) void this.settle()
      this.#onChange()
    })
    return this.#loop
  }

  #isSettled(): boolean {
    return this.isWanted ? this.manifest === this.#segment.manifest : !this.#isPresent
  }

  /** The node has forgotten it. */
  noteLost(): void {
    this.#forget()
    void this.settle()
  }

  #forget(): void {
    this.manifest = undefined
    this.#life += 1
    this.#delivery = undefined
  }

  /** Delivers at once what the node takes at once. */
  deliver(): void {
    if (this.#delivery !== undefined || this.manifest === undefined) return
    while (this.deliveredCount < this.#segment.deleteCount) {
      const chunk = this.#segment.deletesFrom(this.deliveredCount)
      try {
        const sent = this.node.replica.applyDeletes(this.#segment.segmentId, chunk.rowIds, chunk.at)
        if (sent !== undefined) {
          this.#delivery = this.#deliverRest(sent, chunk.count, this.#life)
          return
        }
      } catch {
        this.noteLost()
        return
      }
      this.deliveredCount += chunk.count
    }
  }

  async #deliverRest(first: Promise<void>, count: number, life: number): Promise<void> {
    let sent: void | Promise<void> = first
    let sentCount = count
    let retryMs = retryMsFirst
    for (;;) {
      try {
        await sent
        if (this.#life !== life || this.node.isGone) return
        this.deliveredCount += sentCount
        this.node.noteAnswer()
        this.#onChange()
        retryMs = retryMsFirst
      } catch (error) {
        if (this.#life !== life || this.node.isGone) return
        if (errorKind(error) !== 'away') {
          this.noteLost()
          return
        }
        this.node.noteAway()
        await this.#runtime.sleep(retryMs)
        retryMs = Math.min(retryMs * 2, retryMsMax)
        if (this.#life !== life || this.node.isGone) return
      }
      if (this.deliveredCount >= this.#segment.deleteCount) break
      const chunk = this.#segment.deletesFrom(this.deliveredCount)
      sentCount = chunk.count
      // What is thrown at once is met where it is awaited.
      sent = Promise.resolve().then(() =>
        this.node.replica.applyDeletes(this.#segment.segmentId, chunk.rowIds, chunk.at),
      )
    }
    this.#delivery = undefined
  }

  async #work(): Promise<void> {
    for (let retryMs = retryMsFirst; !this.node.isGone; ) {
      try {
        if (!(await this.#step())) return
        retryMs = retryMsFirst
      } catch (error) {
        this.error = error
        if (errorKind(error) === 'away') this.node.noteAway()
        this.#onChange()
        await this.#runtime.sleep(retryMs)
        retryMs = Math.min(retryMs * 2, retryMsMax)
      }
    }
  }

  /** @returns false when there is nothing to do */
  async #step(): Promise<boolean> {
    const segment = this.#segment
    const { replica } = this.node
    if (this.#isSettled()) return false
    if (!this.isWanted) {
      this.#forget()
      await replica.release(segment.segmentId)
      this.#isPresent = false
      return true
    }
    const { manifest } = segment
    this.#isPresent = true
    const life = this.#life
    await replica.load(manifest, segment.schema, segment.when)
    this.node.noteAnswer()
    this.error = undefined
    if (this.#life !== life) return true
    // Deletes are delivered to what is loaded, all of them again to what was not.
    if (this.manifest === undefined) this.deliveredCount = 0
    this.manifest = manifest
    this.deliver()
    this.#onChange()
    return true
  }
}
