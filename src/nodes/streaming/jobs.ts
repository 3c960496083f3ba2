/** What the data node does for this node, written down while it runs. */
import type { Runtime } from '#base/runtime.js'
import type { DataNode } from '#nodes/data/contract.js'
import type { JobKind } from '#nodes/streaming/contract.js'

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
      listObjects: (...all) => dataNode.listObjects(...all),
      removeObjects: (...all) => dataNode.removeObjects(...all),
      removeSegment: (...all) => dataNode.removeSegment(...all),
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
