import { expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ScanFragment } from '#engine/plan/fragment.js'
import type { Group } from '#nodes/query/placed/route.js'
import { scanGroups } from '#nodes/query/placed/scan.js'

const fragment: ScanFragment = { tableId: 1, shard: 0, readAt: 1 as Timestamp, output: [] }

test('a node that does not answer is asked again any number of times, without one attempt waiting inside another', async () => {
  let left = 20_000
  const target = { segment: { segmentId: 1, manifest: { minRowId: 1 } }, deleteCount: 0 }
  const group = {
    targets: [target],
    rowCount: 1,
    node: {
      noteAnswer: () => {},
      replica: {
        async *scan() {
          left -= 1
          if (left > 0) throw new UnreachableError('determinate', 'away')
          yield { rowIds: Float64Array.of(1), batch: { rowCount: 1, columns: [] } }
          return { segments: [] }
        },
      },
    },
  } as unknown as Group
  const found: number[] = []
  const parts = scanGroups([target] as unknown as Group['targets'], fragment, {
    route: async () => [group],
    enter: async () => () => {},
    giveWay: async () => {},
    patienceMs: 60_000,
    runtime: systemRuntime,
    context: backgroundContext,
  })
  for await (const { rowIds } of parts) found.push(...rowIds)
  expect(found).toEqual([1])
  expect(left).toBe(0)
})
