/**
 * Repeats requests to S3 until they are done, refused, or it is too late, and says in words what was wrong. The client's own
 * repetition is off: whether an attempt may have happened must be known here.
 *
 * No secrets: of the client's errors only name, message and status go on; they hold the whole request, with its signature.
 */
import { S3ServiceException } from '@aws-sdk/client-s3'
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'

/** A store that throttles or restarts takes seconds. */
const repeatForMs = 15_000
const pauseMinMs = 50
const pauseMaxMs = 1000

/** What is known after a failure: 'refused' for good, 'not-begun' but perhaps later, 'unclear' whether it was done. */
type Verdict = 'refused' | 'not-begun' | 'unclear'

export interface RepeatOptions {
  readonly runtime: Pick<Runtime, 'sleep' | 'random' | 'monotonicMs'>
  /** Aborted when the store is closed: no more attempts. */
  readonly closing: AbortSignal
  /** "write object "a"" */
  readonly what: string
  /** Reads change nothing. */
  readonly isRead: boolean
}

/**
 * @param attempt gets whether an earlier attempt may have been done
 * @throws StoreError; what `attempt` throws of this type goes on as it is
 */
export async function repeat<T>(
  { runtime, closing, what, isRead }: RepeatOptions,
  attempt: (mayBeDone: boolean) => Promise<T>,
): Promise<T> {
  const deadlineMs = runtime.monotonicMs() + repeatForMs
  let mayBeDone = false
  for (let count = 0; ; count += 1) {
    try {
      return await attempt(mayBeDone)
    } catch (error) {
      if (error instanceof StoreError) throw error
      const verdict = judge(error)
      if (verdict === 'unclear' && !isRead) mayBeDone = true
      const isLast = verdict === 'refused' || closing.aborted || runtime.monotonicMs() >= deadlineMs
      if (isLast) {
        const outcome = mayBeDone ? 'indeterminate' : 'determinate'
        throw new StoreError(outcome, `could not ${what}: ${inWords(error)}`)
      }
      const pauseMs = Math.min(pauseMinMs * 2 ** count, pauseMaxMs) * (0.5 + runtime.random())
      // Closed meanwhile: one last attempt.
      await runtime.sleep(pauseMs, closing).catch(() => {})
    }
  }
}

/** Found out before anything was sent. ENOTFOUND may be a resolver that starts: it is tried again. */
const notConnected = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
])

/** 4xx that mean: later. 409 is a conditional write of the same key that is under way. */
const laterStatuses = new Set([408, 409, 429])
const laterNames = new Set(['RequestTimeTooSkewed', 'RequestTimeout', 'SlowDown'])

function judge(error: unknown): Verdict {
  const status = statusOf(error)
  if (status !== undefined && status >= 400 && status < 500) {
    return laterStatuses.has(status) || laterNames.has(nameOf(error)) ? 'not-begun' : 'refused'
  }
  if (nameOf(error) === 'CredentialsProviderError') return 'refused'
  return notConnected.has(codeOf(error)) ? 'not-begun' : 'unclear'
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

/** Also that of the first of several addresses of a host. */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return codeOf(error.errors[0])
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

const credentialErrors = new Set(['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'AccessDenied'])
const whereCredentialsAre = 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile'

function inWords(error: unknown): string {
  const name = nameOf(error)
  const status = statusOf(error)
  if (name === 'NoSuchBucket') return 'there is no such bucket (NoSuchBucket): create it first'
  if (name === 'CredentialsProviderError') {
    return `no credentials for the object store: set ${whereCredentialsAre}`
  }
  if (credentialErrors.has(name) || status === 403) {
    return `the object store refuses the credentials (${name}): see ${whereCredentialsAre}`
  }
  const reason = error instanceof AggregateError ? error.errors[0] : error
  const message = reason instanceof Error ? reason.message : String(reason)
  return status === undefined ? message : `${name}: ${message} (HTTP ${status})`
}
