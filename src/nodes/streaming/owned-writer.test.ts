/** What an owner says when the log does not take its records any more. */
import { expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { ownedWriter } from '#nodes/streaming/owned-writer.js'
import { exclusiveOwnership, NotOwnerError } from '#nodes/streaming/ownership.js'
import { storeFailure } from '#nodes/streaming/store-failure.js'
import type { WalWriter } from '#storage/wal/wal.js'

function writerThat(error: StoreError): WalWriter {
  return { term: 3, append: () => Promise.reject(error), close: async () => {} }
}

async function refusalOf(error: StoreError): Promise<unknown> {
  const writer = ownedWriter(
    'log-0',
    writerThat(error),
    exclusiveOwnership,
    systemRuntime,
    () => {},
  )
  return await writer.append([]).then(
    () => undefined,
    (refusal: unknown) => refusal,
  )
}

test('while another takes the log channel over, nothing was done and whoever asked may ask again: 57P03', async () => {
  const refusal = await refusalOf(new StoreError('determinate', 'WAL-3: fenced'))
  expect(refusal).toMatchObject({ outcome: 'determinate' })
  expect(storeFailure(refusal)).toBeInstanceOf(NotOwnerError)
})

test('what the log refuses otherwise, or leaves unclear, stays what it is', async () => {
  for (const error of [
    new StoreError('determinate', 'disk full', undefined, 'full'),
    new StoreError('indeterminate', 'WAL-3: no answer'),
  ]) {
    expect(await refusalOf(error)).toBe(error)
  }
})
