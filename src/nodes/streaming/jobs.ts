/** What the data node does for this node, and what waits for it: rows of elanus.jobs. */
import type { Runtime } from '#base/runtime.js'
import type { DataNode } from '#nodes/data/contract.js'
import { lacksIndex } from '#nodes/streaming/build-index.js'
import type { JobKind, JobReport } from '#nodes/streaming/contract.js'
import { isTruncated } from '#nodes/streaming/needed-position.js'
import type { StreamingState } from '#nodes/streaming/state.js'

interface RunningJob {
  readonly kind: JobKind
  readonly tableId: number
  readonly segmentId: number
  readonly indexOid: number
  readonly startedMs: number
  done: number
  readonly total: number
}

export class Jobs {
  readonly #runtime: Runtime
  readonly #running = new Set<RunningJob>()

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  running(): readonly Readonly<RunningJob>[] {
    return [...this.#running]
  }

  /** The data node, with its jobs written down while they run. */
  watched(dataNode: DataNode): DataNode {
    return {
      readDeletes: (...all) => dataNode.readDeletes(...all),
      stop: () => dataNode.stop(),
      flush: (segmentId, schema, rows, ...rest) =>
        this.#during(
          { kind: 'flush', tableId: schema.tableId, segmentId, total: rows.rowIds.length },
          () => dataNode.flush(segmentId, schema, rows, ...rest),
        ),
      buildIndex: (manifest, schema, index, onProgress, ...rest) =>
        this.#during(
          {
            kind: 'build index',
            tableId: schema.tableId,
            segmentId: manifest.segmentId,
            indexOid: index.indexOid,
            total: manifest.rowCount,
          },
          (job) =>
            dataNode.buildIndex(
              manifest,
              schema,
              index,
              (rowsDone) => {
                job.done = rowsDone
                onProgress(rowsDone)
              },
              ...rest,
            ),
        ),
      compact: (segmentId, schema, inputs, ...rest) => {
        const total = inputs.reduce((sum, { manifest }) => sum + manifest.rowCount, 0)
        return this.#during({ kind: 'compact', tableId: schema.tableId, segmentId, total }, () =>
          dataNode.compact(segmentId, schema, inputs, ...rest),
        )
      },
      writeDeletes: (manifest, deletes, ...rest) =>
        this.#during(
          {
            kind: 'write deletes',
            tableId: manifest.tableId,
            segmentId: manifest.segmentId,
            total: deletes.rowIds.length,
          },
          () => dataNode.writeDeletes(manifest, deletes, ...rest),
        ),
    }
  }

  async #during<T>(
    about: Pick<RunningJob, 'kind' | 'tableId' | 'segmentId' | 'total'> & { indexOid?: number },
    work: (job: RunningJob) => Promise<T>,
  ): Promise<T> {
    const job: RunningJob = { indexOid: 0, ...about, startedMs: this.#runtime.nowMs(), done: 0 }
    this.#running.add(job)
    try {
      return await work(job)
    } finally {
      this.#running.delete(job)
    }
  }
}

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
