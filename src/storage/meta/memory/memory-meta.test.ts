import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { type Fault, noFault } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { metaConformance } from '#storage/meta/meta.conformance.js'

const runtime = systemRuntime
const put = (key: string, lease?: string) =>
  ({
    kind: 'put',
    key,
    value: Uint8Array.of(1),
    ...(lease === undefined ? {} : { lease }),
  }) as const

metaConformance('the meta store in memory', async () => {
  const disk = new MemoryMetaDisk(runtime)
  let meta = new MemoryMeta(disk, { runtime })
  return {
    meta,
    leasesEnd: true,
    reopen: async () => {
      await meta.close()
      meta = new MemoryMeta(disk, { runtime })
      return meta
    },
    another: () => new MemoryMeta(disk, { runtime }),
    cleanup: () => meta.close(),
  }
})

test.each([
  ['refused', 'determinate', false],
  ['lost', 'indeterminate', false],
  ['done-unknown', 'indeterminate', true],
] as const)('%s: %s, done: %s', async (kind, outcome, isDone) => {
  const faults = (operation: string): Fault =>
    operation === 'meta.write' ? { ...noFault, kind } : noFault
  const meta = new MemoryMeta(new MemoryMetaDisk(), { runtime, faults })
  await expect(meta.write([], [put('a')])).rejects.toMatchObject({ outcome })
  expect((await meta.get('a')) !== undefined).toBe(isDone)
})

test('a crash answers nobody; others go on; an expired lease takes its keys along', async () => {
  const disk = new MemoryMetaDisk()
  const faults = (): Fault => ({ ...noFault, delayAfterMs: 20 })
  const dying = new MemoryMeta(disk, { runtime, faults })
  const other = new MemoryMeta(disk, { runtime })
  const lease = await other.grantLease(1000)
  const attempt = dying.write([], [put('leader', lease.id)])
  const expectation = expect(attempt).rejects.toMatchObject({ outcome: 'indeterminate' })
  await runtime.sleep(5)
  dying.crash()
  await expectation
  expect(await other.get('leader')).toBeDefined()
  await expect(dying.get('leader')).rejects.toMatchObject({ outcome: 'determinate' })
  disk.expireLease(lease.id)
  expect(await other.get('leader')).toBeUndefined()
})
