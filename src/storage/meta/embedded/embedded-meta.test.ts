import { expect, test } from 'vitest'
import { openEmbeddedMeta } from '#storage/meta/embedded/embedded-meta.js'
import { metaConformance } from '#storage/meta/meta.conformance.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'

metaConformance('the embedded meta store', async () => {
  const scratch = await scratchDirectory()
  let meta = await openEmbeddedMeta(scratch.path)
  const reopen = async () => {
    await meta.close()
    meta = await openEmbeddedMeta(scratch.path)
    return meta
  }
  return {
    meta,
    reopen,
    cleanup: async () => {
      await meta.close()
      await scratch.remove()
    },
  }
})

test('what is held by a lease is gone when the process is', async () => {
  const scratch = await scratchDirectory()
  const value = Uint8Array.of(1)
  const before = await openEmbeddedMeta(scratch.path)
  const lease = await before.grantLease(1000)
  await before.write(
    [],
    [
      { kind: 'put', key: 'leader', value, lease: lease.id },
      { kind: 'put', key: 'table', value },
    ],
  )
  expect(await before.get('leader')).toBeDefined()
  await before.close()
  const after = await openEmbeddedMeta(scratch.path)
  expect((await after.list('')).map(({ key }) => key)).toEqual(['table'])
  await after.close()
  await scratch.remove()
})
