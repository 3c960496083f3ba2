/**
 * Rows that are in the log and, invisible, in growing segments, but part of nothing until a commit names them. Every insert
 * is one: a small transaction's rows enter with the commit itself, COPY's rows as they come.
 */
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { PendingCommit } from '#nodes/streaming/commit-queue.js'

const noSuspects: ReadonlyMap<GrowingSegment, Set<number>> = new Map()

export class Stage {
  readonly stageId: number
  readonly channel: Channel
  rowCount = 0
  /** Where its rows are. */
  readonly segments = new Set<GrowingSegment>()
  /** The commit under way that names it. */
  committing: PendingCommit | undefined
  /** Rows whose key another transaction took or may take: judged again at commit. */
  suspects: ReadonlyMap<GrowingSegment, Set<number>> = noSuspects
  /** A unique key was added while it was open: all rows are suspects. */
  isSuspect = false

  constructor(stageId: number, channel: Channel) {
    this.stageId = stageId
    this.channel = channel
  }

  suspect(segment: GrowingSegment, ordinal: number): void {
    const known = this.suspects.get(segment)
    if (known !== undefined) known.add(ordinal)
    else this.suspects = new Map([...this.suspects, [segment, new Set([ordinal])]])
  }
}
