/** What the data node does for this node, and what waits for it: rows of elanus.jobs. */
import { lacksIndex } from '#nodes/streaming/build-index.js'
import type { JobKind, JobReport } from '#nodes/streaming/contract.js'
import { isTruncated } from '#nodes/streaming/needed-position.js'
import type { StreamingState } from '#nodes/streaming/state.js'

export function jobReports(state: StreamingState): readonly JobReport[] {
  const running = state.jobs.running()
  return [
    ...running.map((job): JobReport => ({ ...job, state: 'running' })),
    ...waiting(state).filter((job) =>
      running.every(
        ({ kind, segmentId, indexOid }) =>
          kind !== job.kind || segmentId !== job.segmentId || indexOid !== job.indexOid,
      ),
    ),
  ]
}

function waiting(state: StreamingState): JobReport[] {
  const jobs: JobReport[] = []
  const add = (
    kind: JobKind,
    tableId: number,
    segmentId: number,
    indexOid: number,
    total: number,
  ): void => {
    jobs.push({
      kind,
      tableId,
      segmentId,
      indexOid,
      total,
      state: 'waiting',
      startedMs: 0,
      done: 0,
    })
  }
  for (const [tableId, { schema, channels }] of state.tables) {
    for (const { view } of channels) {
      for (const segment of view.growing) {
        if (segment.closed) add('flush', tableId, segment.segmentId, 0, segment.rowCount)
      }
      for (const entry of view.sealed) {
        // Passed over by all reads, kept for those in the past.
        if (isTruncated(entry)) continue
        for (const index of schema.vectorIndexes) {
          if (!lacksIndex(entry, schema, index)) continue
          add('build index', tableId, entry.segmentId, index.indexOid, entry.manifest.rowCount)
        }
      }
    }
  }
  return jobs
}
