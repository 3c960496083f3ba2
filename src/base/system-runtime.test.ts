import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'

test('sleep ends early with the reason of the signal', async () => {
  const abort = new AbortController()
  const sleeping = systemRuntime.sleep(60_000, abort.signal)
  abort.abort(new Error('woken'))
  await expect(sleeping).rejects.toThrow('woken')
  await expect(systemRuntime.sleep(60_000, abort.signal)).rejects.toThrow('woken')
})

test('sleep takes its time', async () => {
  const before = systemRuntime.monotonicMs()
  await systemRuntime.sleep(20, new AbortController().signal)
  expect(systemRuntime.monotonicMs() - before).toBeGreaterThanOrEqual(19)
})

test('random bytes are as many as asked for and differ', () => {
  const [one, two] = [systemRuntime.randomBytes(32), systemRuntime.randomBytes(32)]
  expect(one).toHaveLength(32)
  expect(one).not.toEqual(two)
})
