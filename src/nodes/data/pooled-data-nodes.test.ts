import { expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { DatabaseError, UnreachableError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { DataNode } from '#nodes/data/contract.js'
import { openPooledDataNodes } from '#nodes/data/pooled-data-nodes.js'

const runtime = systemRuntime
const noDeletes = { rowIds: new Float64Array(0), deleted: new Float64Array(0) }

/** A data node of which only readDeletes() is asked. */
function nodeThat(readDeletes: () => Promise<typeof noDeletes>): DataNode {
  return { readDeletes } as Partial<DataNode> as DataNode
}

const ask = (pool: DataNode) => pool.readDeletes({} as never, backgroundContext)

test('jobs are spread; one whose node dies is done by another', async () => {
  const pool = openPooledDataNodes({ runtime })
  const done: string[] = []
  let isDead = false
  for (const id of ['a', 'b']) {
    pool.putNode(
      id,
      nodeThat(async () => {
        await runtime.sleep(5)
        if (isDead && id === 'a') throw new UnreachableError('indeterminate', 'a is gone')
        done.push(id)
        return noDeletes
      }),
    )
  }
  await Promise.all([ask(pool), ask(pool), ask(pool), ask(pool)])
  expect(done.toSorted()).toEqual(['a', 'a', 'b', 'b'])
  isDead = true
  await Promise.all([ask(pool), ask(pool)])
  expect(done.slice(4)).toEqual(['b', 'b'])
})

test('what every node would say is said at once; without a node a job waits for one, and for so long', async () => {
  const pool = openPooledDataNodes({ runtime, patienceMs: 150 })
  await expect(ask(pool)).rejects.toMatchObject({ sqlState: '57P03' })
  const waiting = ask(pool)
  pool.putNode(
    'a',
    nodeThat(async () => noDeletes),
  )
  await waiting
  const corrupted = async () => {
    throw new DatabaseError('XX001', 'checksum')
  }
  pool.putNode('a', nodeThat(corrupted))
  await expect(ask(pool)).rejects.toMatchObject({ sqlState: 'XX001' })
})

test('a drained node ends its jobs and gets none', async () => {
  const pool = openPooledDataNodes({ runtime })
  const done: string[] = []
  const slow = (id: string) =>
    nodeThat(async () => {
      await runtime.sleep(20)
      done.push(id)
      return noDeletes
    })
  pool.putNode('a', slow('a'))
  const job = ask(pool)
  pool.putNode('b', slow('b'))
  await pool.drain('a')
  expect(done).toEqual(['a'])
  await job
  await Promise.all([ask(pool), ask(pool)])
  expect(done).toEqual(['a', 'b', 'b'])
})
