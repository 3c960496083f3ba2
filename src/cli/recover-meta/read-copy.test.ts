import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { readCopy } from '#cli/recover-meta/read-copy.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { type FaultKind, noFault } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'

/** Time stands still: what is put, the steps put. */
const runtime = {
  ...systemRuntime,
  sleep: (_ms: number, signal?: AbortSignal) =>
    new Promise<void>((_, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('over')), { once: true })
    }),
}

const manifest = (segmentId: number): SegmentManifest => ({
  formatVersion: 1,
  segmentId,
  tableId: 1,
  shard: 0,
  incarnation: 0,
  rowCount: 1,
  minRowId: 1,
  maxRowId: 1,
  minTimestamp: 1,
  maxTimestamp: 1,
  data: { name: 'x', bytes: 1, checksum: '00000000' },
  indexes: [],
  columns: [],
})

/** What a copy has of it. */
function stateOf(disk: MemoryMetaDisk): string {
  const kept = [...disk.entries.values()].filter(({ key }) =>
    /^(ddl|counter|segment|checkpoint|setting|ddl-appends)/.test(key),
  )
  return show(kept.map(({ key, value }) => [key, value]))
}

function show(keys: Iterable<readonly [string, Uint8Array]>): string {
  const lines = [...keys].map(([key, value]) => `${key}=${Buffer.from(value).toString('hex')}`)
  return lines.sort().join('\n')
}

type Step =
  | { readonly kind: 'setting' | 'ddl' | 'segments' | 'lease'; readonly n: number }
  | { readonly kind: 'secure' | 'reopen' | 'die' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('setting', 'ddl', 'segments', 'lease'),
      n: fc.nat(5),
    }),
  },
  { weight: 2, arbitrary: fc.constantFrom<Step>({ kind: 'secure' }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ kind: 'reopen' }, { kind: 'die' }) },
)

test('the copy is a state that the meta store was in, and the present one after what must be in it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.infiniteStream(
        fc.constantFrom<FaultKind>('none', 'none', 'none', 'refused', 'lost', 'done-unknown'),
      ),
      async (steps, fates) => {
        const metaDisk = new MemoryMetaDisk()
        const objectsDisk = new MemoryObjectsDisk()
        const faults = (operation: string) => {
          const fate: FaultKind = operation === 'objects.put' ? fates.next().value : 'none'
          return { ...noFault, kind: fate }
        }
        const openIt = (): Promise<Coordinator> =>
          openCoordinator({
            meta: new MemoryMeta(metaDisk, { runtime }),
            objects: new MemoryObjects(objectsDisk, { runtime, faults }),
            runtime,
          })
        const objects = new MemoryObjects(objectsDisk, { runtime })
        let coordinator = await openIt()
        await coordinator.putSetting('cluster/log-channels', new Uint8Array([49]))
        await retried(() => coordinator.secure())
        const history = new Set([stateOf(metaDisk)])
        for (const [i, one] of steps.entries()) {
          switch (one.kind) {
            case 'setting':
              await coordinator.putSetting(
                `some/${one.n}`,
                one.n === 0 ? undefined : new Uint8Array([i]),
              )
              break
            case 'ddl': {
              const { length } = await coordinator.ddlLog()
              const entry = new Uint8Array([i])
              await retried(() => coordinator.appendDdl(length, [entry], `append ${i}`))
              break
            }
            case 'segments':
              await coordinator.switchSegments({
                add: [manifest(i + 1)],
                remove: [one.n],
                checkpoints: new Map([[`channel/${one.n}`, i]]),
              })
              break
            case 'lease':
              await coordinator.leaseCounter(`c${one.n}`, 1, 1)
              break
            case 'secure':
              await retried(() => coordinator.secure())
              break
            case 'reopen':
              await coordinator.stop()
              coordinator = await openIt()
              break
            case 'die':
              coordinator = await openIt()
          }
          history.add(stateOf(metaDisk))
          const { keys } = await readCopy(objects)
          const copied = show(keys)
          expect(history.has(copied)).toBe(true)
          if (one.kind === 'secure' || one.kind === 'ddl') expect(copied).toBe(stateOf(metaDisk))
        }
        await coordinator.stop()
      },
    ),
    { numRuns: 100 },
  )
})

test('an empty meta store beside a copy is refused', async () => {
  const objects = new MemoryObjects(new MemoryObjectsDisk(), { runtime })
  const first = new MemoryMeta(new MemoryMetaDisk(), { runtime })
  const coordinator = await openCoordinator({ meta: first, objects, runtime })
  await coordinator.appendDdl(0, [new Uint8Array([1])])
  await coordinator.stop()
  const other = new MemoryMeta(new MemoryMetaDisk(), { runtime })
  await expect(openCoordinator({ meta: other, objects, runtime })).rejects.toThrow('recover-meta')
  await (await openCoordinator({ meta: first, objects, runtime })).stop()
})

/** As whoever waits for it does. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Error && 'outcome' in error)) throw error
    }
  }
}
