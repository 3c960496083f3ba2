import { expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { retryConflicts } from '#nodes/proxy/session/retry-conflicts.js'

const runtime = { ...systemRuntime, sleep: () => Promise.resolve() }
const conflict = new DatabaseError(SqlState.serializationFailure, 'conflict')

async function run(errors: unknown[], mayRunAgain = () => true): Promise<number> {
  let count = 0
  const work = async (): Promise<void> => {
    count += 1
    const error = errors.shift()
    if (error !== undefined) throw error
  }
  await retryConflicts(runtime, backgroundContext, work, mayRunAgain).catch((error: unknown) => {
    expect(error).toBe(conflict)
    count = -count
  })
  return count
}

test('what lost runs again', async () => {
  expect(await run([conflict, conflict])).toBe(3)
})

test('but not for ever', async () => {
  expect(await run(Array(100).fill(conflict))).toBe(-8)
})

test('and not when the client has been sent something', async () => {
  expect(await run([conflict], () => false)).toBe(-1)
})
