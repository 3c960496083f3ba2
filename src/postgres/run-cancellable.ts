import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { EvaluationResult } from '#postgres/contract.js'
import type { Instance } from '#postgres/instance.js'
import type { EvaluateJob } from '#postgres/jobs.js'

/** An instance hears nothing while it runs: to cancel is to end its thread. @throws the signal's reason */
export async function runCancellable(
  instance: Instance,
  job: EvaluateJob,
  context: Context,
): Promise<EvaluationResult> {
  const { signal } = context
  let callId = 0
  const cancel = (): void => {
    instance.cancel(callId, cancelReason(signal)).catch(() => {})
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
