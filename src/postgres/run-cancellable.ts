import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { EvaluationResult } from '#postgres/contract.js'
import type { Instance } from '#postgres/instance.js'
import type { EvaluateJob } from '#postgres/jobs.js'

export interface Cancellation {
  /** How long a cancelled call may run on before it costs the instance. */
  readonly graceMs: number
  /** Told when the call is cancelled: until then the instance is still busy with it, or dead. */
  readonly onCancel?: (isOver: Promise<void>) => void
}

/** An instance hears nothing while it runs: what is cancelled is abandoned. @throws the signal's reason, at once */
export async function runCancellable(
  instance: Instance,
  job: EvaluateJob,
  { signal }: Context,
  { graceMs, onCancel }: Cancellation,
): Promise<EvaluationResult> {
  let callId = 0
  const cancel = (): void => {
    const isOver = instance.abandon(callId, cancelReason(signal), graceMs)
    onCancel?.(isOver)
  }
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await instance.call(job, ownedBuffers(job), (id) => {
      callId = id
    })
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

export function cancelReason(signal: AbortSignal): DatabaseError {
  return signal.reason instanceof DatabaseError
    ? signal.reason
    : new DatabaseError(SqlState.queryCanceled, 'canceling statement due to user request')
}

/** Moving costs a little for each: only what is large. */
function ownedBuffers({ loads, copyData }: EvaluateJob): ArrayBuffer[] {
  const arrays = loads.map(({ tuples }) => tuples)
  if (copyData !== undefined) arrays.push(copyData)
  return arrays.filter((a) => a.byteLength > 16_384).map((a) => a.buffer as ArrayBuffer)
}
