/** What is recorded although nobody was told: it is not thought undone. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import type { SegmentChange } from '#nodes/coordinator/contract.js'
import { Cluster, request } from '#nodes/streaming/cluster.testing.js'
import { context, docs, insert, tableId } from '#nodes/streaming/streaming.testing.js'
import { noFaults } from '#storage/faults.js'

type Fate = 'done' | 'done, but unclear' | 'refused'

const refused = (): StoreError => new StoreError('determinate', 'refused')

let cluster: Cluster
/** Of the changes to come that concern segments. */
let fates: Fate[] = []
let onFate: (fate: Fate) => void = () => {}

beforeEach(async () => {
  fates = []
  onFate = () => {}
  cluster = await Cluster.create(1, 'remote')
  const { switchSegments } = cluster.coordinator
  Object.assign(cluster.coordinator, {
    async switchSegments(change: SegmentChange) {
      const isConcerned = change.add.length + change.remove.length > 0
      const fate = isConcerned ? fates.shift() : undefined
      if (fate !== undefined) onFate(fate)
      if (fate === 'refused') throw refused()
      await switchSegments(change)
      if (fate === 'done, but unclear') throw new StoreError('indeterminate', 'no answer')
    },
  })
  await cluster.open('log-0', { retentionMs: 0 })
  await cluster.node('log-0').putTable(docs)
})
afterEach(async () => {
  await cluster.close()
})

async function commit(...ids: readonly number[]): Promise<void> {
  const { inserts } = insert(...ids.map((id) => ({ id, name: `doc ${id}` })))
  const write = { shard: 0, ...(inserts === undefined ? {} : { inserts }) }
  await cluster.node('log-0').commit(request([write]), context)
}

async function found(): Promise<readonly { readonly id: number; readonly rowId: number }[]> {
  const rows = await cluster.rows(await cluster.coordinator.timestamp(), [0])
  return rows
    .map(({ id, rowId }) => ({ id: Number(id), rowId }))
    .sort((a, b) => a.id - b.id || a.rowId - b.rowId)
}

async function reopen(): Promise<void> {
  await cluster.members.get('log-0')?.stop()
  await cluster.open('log-0', { retentionMs: 0 })
}

test('a merge that was recorded without an answer is not undone by an attempt after it that is refused', async () => {
  const before = await twoSegments()
  expect(before).toHaveLength(20)
  fates = ['done, but unclear', 'refused', 'refused']
  await cluster.node('log-0').compact(tableId, context)
  expect(fates).toEqual([])
  expect(await cluster.coordinator.segments()).toHaveLength(1)
  expect(await found()).toEqual(before)
  await reopen()
  expect(await found()).toEqual(before)
})

/** Two segments that VACUUM merges. */
async function twoSegments(): Promise<Awaited<ReturnType<typeof found>>> {
  for (const from of [0, 10]) {
    await commit(...Array.from({ length: 10 }, (_, i) => from + i))
    await cluster.node('log-0').flush(tableId, context)
  }
  return await found()
}

async function deleteRow(rowId: number): Promise<void> {
  const write = { shard: 0, deletes: Float64Array.of(rowId) }
  await cluster.node('log-0').commit(request([write]), context)
}

test('a merge that was recorded without an answer is not undone by a cancel request', async () => {
  const [first, ...others] = await twoSegments()
  const cancel = new AbortController()
  fates = ['done, but unclear', 'refused', 'refused']
  onFate = (fate) => {
    if (fate === 'refused') cancel.abort(new Error('canceling statement due to user request'))
  }
  await cluster
    .node('log-0')
    .compact(tableId, { signal: cancel.signal })
    .catch(() => {})
  expect(cancel.signal.aborted).toBe(true)
  fates = []
  await deleteRow(first?.rowId ?? 0)
  await cluster.node('log-0').flush(tableId, context)
  expect(await found()).toEqual(others)
  await reopen()
  expect(await found()).toEqual(others)
})

test('a node that stops before it knows of a merge records nothing after it', async () => {
  const [first, ...others] = await twoSegments()
  const refusals = Array.from({ length: 1000 }, (): Fate => 'refused')
  fates = ['done, but unclear', ...refusals]
  const isUnclear = new Promise<void>((resolve) => {
    onFate = (fate) => {
      if (fate === 'refused') resolve()
    }
  })
  const node = cluster.node('log-0')
  const compacting = node.compact(tableId, context).then(
    () => 'done',
    () => 'ended',
  )
  await isUnclear
  await deleteRow(first?.rowId ?? 0)
  // Waits for its turn to write the delete down.
  const flushing = node.flush(tableId, context).then(
    () => 'done',
    () => 'ended',
  )
  const stopping = cluster.members.get('log-0')?.stop()
  fates = []
  expect(await compacting).toBe('ended')
  expect(await flushing).toBe('ended')
  await stopping
  await cluster.open('log-0', { retentionMs: 0 })
  expect(await found()).toEqual(others)
})

test('a node that fails before it knows of a merge records nothing after it', async () => {
  const [first, ...others] = await twoSegments()
  fates = ['done, but unclear', ...Array.from({ length: 1000 }, (): Fate => 'refused')]
  const isUnclear = new Promise<void>((resolve) => {
    onFate = (fate) => {
      if (fate === 'refused') resolve()
    }
  })
  const node = cluster.node('log-0')
  const compacting = node.compact(tableId, context).catch(() => 'ended')
  await isUnclear
  await deleteRow(first?.rowId ?? 0)
  const flushing = node.flush(tableId, context).catch(() => 'ended')
  cluster.walFaults = () => ({ kind: 'done-unknown', delayBeforeMs: 0, delayAfterMs: 0 })
  await expect(commit(30)).rejects.toThrow()
  expect(cluster.members.get('log-0')?.hasFailed()).toBe(true)
  cluster.walFaults = noFaults
  fates = []
  expect(await compacting).toBe('ended')
  expect(await flushing).toBe('ended')
  await reopen()
  const ids = (await found()).map(({ id }) => id)
  expect(ids).toEqual([...others.map(({ id }) => id), 30])
})

test('a merge that was refused at once is not recorded, and done by the next', async () => {
  for (const id of [1, 2]) {
    await commit(id)
    await cluster.node('log-0').flush(tableId, context)
  }
  fates = ['refused']
  await expect(cluster.node('log-0').compact(tableId, context)).rejects.toThrow('refused')
  expect(await cluster.coordinator.segments()).toHaveLength(2)
  await cluster.node('log-0').compact(tableId, context)
  expect(await cluster.coordinator.segments()).toHaveLength(1)
  expect(await found()).toHaveLength(2)
})

test('a flush that was recorded without an answer leaves nothing when its rows have gone meanwhile', async () => {
  await commit(1, 2, 3)
  const rows = await found()
  fates = ['done, but unclear']
  await expect(cluster.node('log-0').flush(tableId, context)).rejects.toThrow('no answer')
  const deletes = Float64Array.from(rows, ({ rowId }) => rowId)
  await cluster.node('log-0').commit(request([{ shard: 0, deletes }]), context)
  expect(await found()).toEqual([])
  await commit(4)
  await cluster.node('log-0').flush(tableId, context)
  await cluster.node('log-0').compact(tableId, context, 'now')
  const segments = await cluster.coordinator.segments()
  expect(segments.map(({ minRowId, rowCount }) => [minRowId, rowCount])).toEqual([[4, 1]])
  await reopen()
  expect((await found()).map(({ id }) => id)).toEqual([4])
})
