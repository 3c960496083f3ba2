/** Entry of the thread of one instance: requests in, replies out, one at a time. */
import { parentPort, workerData } from 'node:worker_threads'
import { DatabaseError, InvariantError } from '#base/errors.js'
import { InstanceDeadError, openEmbedded } from '#postgres/embedded.js'
import { InstanceJobs } from '#postgres/instance-jobs.js'
import type { Reply, Request, SerializedError, WorkerData } from '#postgres/jobs.js'

const port = parentPort
if (port === null) throw new InvariantError('instance-worker', 'not a worker')
const { instanceKind, snapshot, image, compiled } = workerData as WorkerData
const embedded = await openEmbedded(
  instanceKind,
  snapshot,
  compiled as Parameters<typeof openEmbedded>[2],
  image,
)
const jobs = new InstanceJobs(embedded, instanceKind)

const reply = (message: Reply, transfer: ArrayBuffer[] = []): void =>
  port.postMessage(message, transfer)

const state = () => ({ memoryBytes: embedded.memoryBytes(), isSpoilt: jobs.isSpoilt })

let tidying = false
port.on('message', ({ id, job }: Request) => {
  try {
    const result = jobs.run(job)
    const transfer = job.kind === 'evaluate' ? buffersOf(result) : []
    reply({ kind: 'result', id, result, ...state() }, transfer)
  } catch (error) {
    if (error instanceof InstanceDeadError) {
      reply({ kind: 'dead', id, reason: error.message })
      port.close()
      return
    }
    reply({ kind: 'error', id, error: serialize(error), ...state() })
  }
  if (!tidying) {
    tidying = true
    setImmediate(tidy)
  }
})
reply({ kind: 'ready' })

function tidy(): void {
  tidying = false
  try {
    jobs.tidy()
  } catch {
    // The next job finds out whether the instance is dead.
  }
}

/** Large byte arrays of a result that own their memory: moved, not copied. */
function buffersOf(result: unknown): ArrayBuffer[] {
  const { dataRows, changes } = result as {
    dataRows: Uint8Array
    changes: readonly { inserted: Uint8Array; removed: Uint32Array }[]
  }
  const arrays = [dataRows, ...changes.map(({ inserted }) => inserted)]
  return arrays
    .filter((a) => a.byteLength > 1024 && a.byteLength === a.buffer.byteLength)
    .map((a) => a.buffer as ArrayBuffer)
}

function serialize(error: unknown): SerializedError {
  if (error instanceof DatabaseError) {
    const { cause: _cause, ...fields } = error.fields
    return {
      sqlState: error.sqlState,
      message: error.message,
      fields: fields as SerializedError['fields'],
    }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { sqlState: 'XX000', message, fields: {} }
}
