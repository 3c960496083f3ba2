import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { int64Datum } from '#engine/columnar/read-datum.js'
import {
  batchOf,
  context,
  docs,
  insert,
  primaryKey,
  primaryKeyOid,
  tableId,
  vectorIndexOid,
  vectorOf,
  World,
} from '#nodes/streaming/streaming.testing.js'
import { noFault } from '#storage/faults.js'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.open()
  await world.node.putTable(docs)
})
afterEach(async () => {
  await world.close()
})

const doc = (id: number, name: string | null = `doc ${id}`) => ({ id, name })
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

async function sqlStateOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return error instanceof DatabaseError ? error.sqlState : `no DatabaseError: ${error}`
}

async function reopen(): Promise<void> {
  world.crash()
  await world.open()
}

describe('commit', () => {
  test('a committed row is read, also after a crash', async () => {
    await world.commit(insert(doc(1), doc(2, null)))
    expect(await world.rows()).toMatchObject([doc(1), doc(2, null)])
    await reopen()
    expect(await world.rows()).toMatchObject([doc(1), doc(2, null)])
  })

  test('a duplicate key is refused in the words of PostgreSQL', async () => {
    await world.commit(insert(doc(1)))
    const refused = world.commit(insert(doc(2), doc(1)))
    await expect(refused).rejects.toMatchObject({
      sqlState: '23505',
      message: 'duplicate key value violates unique constraint "docs_pkey"',
      fields: { detail: 'Key (id)=(1) already exists.', constraint: 'docs_pkey', table: 'docs' },
    })
    expect(await world.ids()).toEqual([1])
  })

  test('two rows of one write with the same key are refused', async () => {
    expect(await sqlStateOf(world.commit(insert(doc(7), doc(7))))).toBe('23505')
  })

  test('of two concurrent inserts of a key one wins', async () => {
    const outcomes = await Promise.allSettled([
      world.commit(insert(doc(1, 'a'))),
      world.commit(insert(doc(1, 'b'))),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(await world.rows()).toMatchObject([doc(1, 'a')])
  })

  test('an update deletes and inserts the key in one transaction; the old version is read in the past', async () => {
    const before = await world.commit(insert(doc(1, 'old')))
    const deletes = await world.rowIdsOf(1)
    await world.commit({ deletes, ...insert(doc(1, 'new')) })
    expect(await world.rows()).toMatchObject([doc(1, 'new')])
    expect(await world.rows(before)).toMatchObject([doc(1, 'old')])
  })

  test('deleting a row twice is a serialization failure, concurrently too', async () => {
    await world.commit(insert(doc(1), doc(2)))
    const deletes = await world.rowIdsOf(1)
    const outcomes = await Promise.allSettled([
      world.commit({ deletes }),
      world.commit({ deletes }),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    const refused = world.commit({ deletes })
    await expect(refused).rejects.toMatchObject({
      sqlState: '40001',
      message: 'could not serialize access due to concurrent update',
    })
    expect(await world.ids()).toEqual([2])
  })

  test('a key that was taken while COPY had it, and is sealed by now, is still taken', async () => {
    const staged = await world.node.stage(tableId, 0)
    await staged.append(batchOf([doc(1, 'copied')]))
    // The rows of the open COPY stay in their growing segment; this one is another.
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(1)))
    await world.node.flush(tableId, context)
    expect(await sqlStateOf(world.commit({}, { staged: [staged] }))).toBe('23505')
    expect(await world.rows()).toMatchObject([doc(1)])
    await staged.abort()
  })

  test('truncate hides everything before it, in growing and sealed segments, and survives', async () => {
    await world.commit(insert(doc(1), doc(2)))
    await world.node.flush(tableId, context)
    const before = await world.commit(insert(doc(3)))
    await world.commit({ truncate: true, ...insert(doc(2, 'again')) })
    expect(await world.rows()).toMatchObject([doc(2, 'again')])
    expect(await world.ids(before)).toEqual([1, 2, 3])
    await reopen()
    expect(await world.rows()).toMatchObject([doc(2, 'again')])
    await world.node.flush(undefined, context)
    await reopen()
    expect(await world.rows()).toMatchObject([doc(2, 'again')])
  })

  test('references must exist, and whoever deletes what was referred to since must look again', async () => {
    await world.commit(insert(doc(1)))
    const readAt = world.node.serviceTime()
    const deletes = await world.rowIdsOf(1)
    const reference = (id: number) => ({
      tableId,
      indexOid: primaryKeyOid,
      constraintName: 'child_fkey',
      key: [int64Datum(BigInt(id))],
    })
    expect(await sqlStateOf(world.commit({}, { references: [reference(9)] }))).toBe('23503')
    await world.commit({}, { references: [reference(1)] })
    await world.commit(insert(doc(5)), { references: [reference(5)] })
    expect(await sqlStateOf(world.commit({ deletes }, { readAt }))).toBe('40001')
    await world.commit({ deletes, ...insert(doc(1, 'same key')) }, { readAt })
  })

  test('findConflict names the row', async () => {
    await world.commit(insert(doc(1), doc(2)))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(3)))
    const find = (...ids: number[]) =>
      world.node.findConflict(
        {
          tableId,
          shard: 0,
          truncate: false,
          deletes: new Float64Array(0),
          inserts: [batchOf(ids.map((id) => doc(id)))],
        },
        context,
      )
    expect(await find(8, 9)).toBeUndefined()
    expect(await find(8, 3, 2)).toMatchObject({ row: 1, indexOid: primaryKeyOid })
    expect(await find(8, 2)).toMatchObject({ row: 1, rowId: (await world.rowIdsOf(2))[0] })
    expect(await find(8, 8)).toMatchObject({ row: 1, rowId: -1 })
  })

  test('a new unique key over rows that break it is refused', async () => {
    await world.commit(insert(doc(1, 'x'), doc(2, 'x')))
    const key = { ...primaryKey, name: 'docs_name_key', indexOid: 99, attnums: [2], primary: false }
    const schema = { ...docs, version: 2, keys: [primaryKey, key] }
    await expect(world.node.putTable(schema)).rejects.toMatchObject({
      sqlState: '23505',
      message: 'could not create unique index "docs_name_key"',
      fields: { detail: 'Key (name)=(x) is duplicated.' },
    })
    await world.commit({ deletes: await world.rowIdsOf(2) })
    await world.node.putTable(schema)
    expect(await sqlStateOf(world.commit(insert(doc(4, 'x'))))).toBe('23505')
    await world.commit(insert(doc(5, null), doc(6, null)))
  })

  test('a column that came later reads as its missing value', async () => {
    await world.commit(insert(doc(1)))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(2)))
    const [first] = docs.columns
    if (first === undefined) throw new Error('no column')
    const added = { ...first, attnum: 4, name: 'n', notNull: false, missing: int64Datum(7n) }
    await world.node.putTable({ ...docs, version: 2, columns: [...docs.columns, added] })
    const read = async () => {
      const found: unknown[] = []
      const readAt = world.node.serviceTime()
      const fragment = { tableId, shard: 0, readAt, output: [4] }
      for await (const { batch } of world.node.scan(fragment, context)) {
        const [column] = batch.columns
        if (column?.kind === 'int64') found.push(...column.values.subarray(0, batch.rowCount))
      }
      return found
    }
    expect(await read()).toEqual([7n, 7n])
    await reopen()
    expect(await read()).toEqual([7n, 7n])
  })
})

describe('staged rows', () => {
  test('are visible only with their commit', async () => {
    const staged = await world.node.stage(tableId, 0)
    await staged.append(batchOf(range(0, 100).map((id) => doc(id))))
    await world.commit(insert(doc(1000)))
    expect(await world.ids()).toEqual([1000])
    await staged.append(batchOf([doc(100)]))
    const at = await world.commit({}, { staged: [staged] })
    expect(await world.ids()).toEqual([...range(0, 101), 1000])
    expect(await world.ids((at - 1) as typeof at)).toEqual([1000])
    await reopen()
    expect(await world.ids()).toEqual([...range(0, 101), 1000])
  })

  test('vanish when given up or when the node crashes', async () => {
    const givenUp = await world.node.stage(tableId, 0)
    await givenUp.append(batchOf([doc(1)]))
    await givenUp.abort()
    await givenUp.abort()
    const open = await world.node.stage(tableId, 0)
    await open.append(batchOf([doc(2)]))
    await world.commit(insert(doc(1, 'other')))
    await reopen()
    expect(await world.rows()).toMatchObject([doc(1, 'other')])
    await world.commit(insert(doc(2, 'free')))
  })

  test('whose holder goes while they are being committed are given up when the commit fails, and kept when it does not', async () => {
    for (const kind of ['refused', 'none'] as const) {
      const staged = await world.node.stage(tableId, 0)
      await staged.append(batchOf([doc(1)]))
      let isUnderWay = false
      world.walFaults = () => {
        isUnderWay = true
        return { ...noFault, kind, delayBeforeMs: 50 }
      }
      const committing = world.commit({}, { staged: [staged] }).then(
        () => 'committed',
        () => 'failed',
      )
      await expect.poll(() => isUnderWay, { interval: 1 }).toBe(true)
      await staged.abort()
      world.walFaults = () => noFault
      expect(await committing).toBe(kind === 'none' ? 'committed' : 'failed')
      expect(await world.ids()).toEqual(kind === 'none' ? [1] : [])
      await world.node.flush(tableId, context)
      const { segments } = await world.node.statistics(tableId)
      expect(segments.map(({ stage }) => stage)).toEqual(kind === 'none' ? ['flushed'] : [])
    }
  })

  test('that are given up before their commit is on its way are not left out of it: it is refused', async () => {
    const [first, second] = [await world.node.stage(tableId, 0), await world.node.stage(tableId, 0)]
    await first.append(batchOf([doc(1)]))
    world.walFaults = () => ({ ...noFault, delayBeforeMs: 100 })
    await second.append(batchOf([doc(2)]))
    const committing = sqlStateOf(world.commit({}, { staged: [first, second] }))
    await world.runtime.sleep(20)
    await first.abort()
    expect(await committing).toBe('55000')
    world.walFaults = () => noFault
    await second.abort()
    expect(await world.ids()).toEqual([])
    await reopen()
    expect(await world.ids()).toEqual([])
  })

  test('with a key that is there are refused on append', async () => {
    await world.commit(insert(doc(1)))
    const staged = await world.node.stage(tableId, 0)
    expect(await sqlStateOf(staged.append(batchOf([doc(2), doc(1)])))).toBe('23505')
    await staged.append(batchOf([doc(2)]))
    expect(await sqlStateOf(staged.append(batchOf([doc(2)])))).toBe('23505')
  })

  test('of two with the same key the first to commit wins', async () => {
    const first = await world.node.stage(tableId, 0)
    const second = await world.node.stage(tableId, 0)
    await first.append(batchOf([doc(1), doc(2, 'first')]))
    await second.append(batchOf([doc(2, 'second'), doc(3)]))
    await world.commit({}, { staged: [second] })
    expect(await sqlStateOf(world.commit({}, { staged: [first] }))).toBe('23505')
    await first.abort()
    expect(await world.rows()).toMatchObject([doc(2, 'second'), doc(3)])
  })

  test('a plain insert of their key goes first, then their commit is refused', async () => {
    const staged = await world.node.stage(tableId, 0)
    await staged.append(batchOf([doc(1, 'staged')]))
    await world.commit(insert(doc(1, 'plain')))
    expect(await sqlStateOf(world.commit({}, { staged: [staged] }))).toBe('23505')
    await world.commit({ deletes: await world.rowIdsOf(1) })
    await world.commit({}, { staged: [staged] })
    expect(await world.rows()).toMatchObject([doc(1, 'staged')])
  })

  test('keep their segment growing; the rest is flushed around them', async () => {
    await world.commit(insert(doc(1)))
    const staged = await world.node.stage(tableId, 0)
    await staged.append(batchOf([doc(2)]))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(3)))
    await world.node.flush(tableId, context)
    await world.commit({}, { staged: [staged] })
    expect(await world.ids()).toEqual([1, 2, 3])
    await reopen()
    expect(await world.ids()).toEqual([1, 2, 3])
    await world.node.flush(undefined, context)
    await reopen()
    expect(await world.ids()).toEqual([1, 2, 3])
    const { segments } = await world.node.statistics(tableId)
    expect(segments.every(({ stage }) => stage === 'flushed')).toBe(true)
  })
})

describe('sealed segments', () => {
  test('hold the rows, take deletes, and both survive', async () => {
    await world.commit(insert(...range(0, 50).map((id) => doc(id))))
    const before = await world.commit({ deletes: await world.rowIdsOf(3) })
    await world.node.flush(tableId, context)
    await world.commit({ deletes: await world.rowIdsOf(4, 5) })
    const expected = range(0, 50).filter((id) => id < 3 || id > 5)
    expect(await world.ids()).toEqual(expected)
    expect(await world.ids(before)).toEqual(range(0, 50).filter((id) => id !== 3))
    await reopen()
    expect(await world.ids()).toEqual(expected)
    await world.node.flush(undefined, context)
    await reopen()
    expect(await world.ids()).toEqual(expected)
    expect(await sqlStateOf(world.commit(insert(doc(7))))).toBe('23505')
    await world.commit(insert(doc(4, 'again')))
  })

  test('searches over sealed and growing rows are exact', async () => {
    await world.commit(insert(...range(0, 40).map((id) => doc(id))))
    await world.node.flush(tableId, context)
    await world.commit(insert(...range(40, 60).map((id) => doc(id))))
    await world.commit({ deletes: await world.rowIdsOf(41) })
    expect(await world.nearest(vectorOf(40), 4)).toEqual([40, 39, 38, 42])
  })

  test('an index is built over them, and survives', async () => {
    const index = {
      indexOid: vectorIndexOid,
      name: 'docs_embedding_idx',
      attnum: 3,
      metric: 'l2' as const,
      m: 16,
      efConstruction: 64,
    }
    await world.commit(insert(...range(0, 300).map((id) => doc(id))))
    await world.node.putTable({ ...docs, version: 2, vectorIndexes: [index] })
    const progress: number[] = []
    const onProgress = (done: number) => progress.push(done)
    await world.node.buildIndex(tableId, vectorIndexOid, onProgress, context)
    expect(progress.at(-1)).toBe(300)
    const statistics = await world.node.statistics(tableId)
    expect(statistics.segments).toMatchObject([{ stage: 'indexed', rowCount: 300 }])
    expect(statistics.indexBytes.get(vectorIndexOid)).toBeGreaterThan(0)
    // REINDEX does it again, CREATE INDEX would not.
    progress.length = 0
    await world.node.buildIndex(tableId, vectorIndexOid, onProgress, context)
    expect(progress.at(-1)).toBe(0)
    await world.node.buildIndex(tableId, vectorIndexOid, onProgress, context, 'all')
    expect(progress.at(-1)).toBe(300)
    await reopen()
    expect((await world.node.statistics(tableId)).segments).toMatchObject([{ stage: 'indexed' }])
    expect(await world.nearest(vectorOf(17), 1)).toEqual([17])
  })

  test('are merged without rows deleted long ago', async () => {
    for (const id of range(0, 5)) {
      await world.commit(insert(doc(id), doc(id + 100)))
      await world.node.flush(tableId, context)
    }
    await world.commit({ deletes: await world.rowIdsOf(1, 2) })
    world.clockMs += 120_000
    const before = world.node.serviceTime()
    await world.commit({ deletes: await world.rowIdsOf(3) })
    await world.node.compact(tableId, context)
    const { segments } = await world.node.statistics(tableId)
    expect(segments).toMatchObject([{ rowCount: 8, deletedCount: 1 }])
    const expected = [0, 4, ...range(100, 105)]
    expect(await world.ids()).toEqual(expected)
    expect(await world.ids(before)).toEqual([0, 3, 4, ...range(100, 105)])
    await reopen()
    expect(await world.ids()).toEqual(expected)
  })

  test('merged again after a crash keep their rows, though the log deletes as many others', async () => {
    // A row that is not flushed holds the log.
    await world.node.putTable({ ...docs, tableId: tableId + 1000, name: 'others', keys: [] })
    await world.commit({ ...insert(doc(0)), tableId: tableId + 1000 })
    await world.commit(insert(...range(1, 12).map((id) => doc(id))))
    await world.node.flush(tableId, context)
    await world.commit({ deletes: await world.rowIdsOf(2, 4, 6, 8, 10) })
    const left = [1, 3, 5, 7, 9, 11]
    for (const further of [[], [3], []]) {
      await world.commit({ deletes: await world.rowIdsOf(...further) })
      world.clockMs += 120_000
      await world.node.compact(tableId, context)
      const expected = left.filter((id) => further.length === 0 || !further.includes(id))
      left.splice(0, left.length, ...expected)
      expect(await world.ids()).toEqual(left)
      await reopen()
      expect(await world.ids()).toEqual(left)
    }
  })

  test('around an open COPY keep their ranges of row ids apart, also after a crash', async () => {
    const open = await world.node.stage(tableId, 0)
    await open.append(batchOf([doc(100)]))
    await world.commit(insert(doc(1)))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(2)))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(3)))
    await reopen()
    await world.node.flush(tableId, context)
    for (const id of [2, 1, 3]) await world.commit({ deletes: await world.rowIdsOf(id) })
    expect(await world.ids()).toEqual([])
    await reopen()
    expect(await world.ids()).toEqual([])
  })

  test('rows of a COPY that committed late keep theirs apart from what comes after a crash', async () => {
    const copied = await world.node.stage(tableId, 0)
    await copied.append(batchOf([doc(100)]))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(1)))
    await world.node.flush(tableId, context)
    await world.commit({}, { staged: [copied] })
    // Only the row of the COPY is read from the log, below those that are sealed.
    await reopen()
    await world.commit(insert(doc(2)))
    await world.node.flush(tableId, context)
    for (const id of [1, 100, 2]) await world.commit({ deletes: await world.rowIdsOf(id) })
    await reopen()
    expect(await world.ids()).toEqual([])
  })

  test('a delete that comes while deletes are written down survives', async () => {
    await world.commit(insert(doc(1), doc(2), doc(3)))
    await world.node.flush(tableId, context)
    const [first, second] = [await world.rowIdsOf(1), await world.rowIdsOf(2)]
    await world.commit({ deletes: first })
    world.metaFaults = (operation) =>
      operation === 'objects.put' ? { ...noFault, delayBeforeMs: 20 } : noFault
    const flushed = world.node.flush(undefined, context)
    await world.runtime.sleep(10)
    await world.commit({ deletes: second })
    await flushed
    world.metaFaults = () => noFault
    await reopen()
    expect(await world.ids()).toEqual([3])
  })

  test('the log is given up when everything in it is sealed, and row ids are not used again', async () => {
    await world.commit(insert(...range(0, 10).map((id) => doc(id))))
    const last = (await world.rowIdsOf(9))[0] ?? 0
    await world.commit({ deletes: await world.rowIdsOf(9) })
    world.clockMs += 120_000
    await world.node.flush(undefined, context)
    await world.node.runBackground()
    expect(world.wal.channel('log-0').synced.length).toBe(0)
    await reopen()
    await world.commit(insert(doc(9, 'new')))
    expect((await world.rowIdsOf(9))[0]).toBeGreaterThan(last)
  })

  test('a segment is sealed by size, and the view keeps one version of each row', async () => {
    world.crash()
    await world.open({ segmentBytesMax: 2000 })
    for (const id of range(0, 200)) {
      await world.commit(insert(doc(id)))
      if (id % 20 === 0) await world.node.runBackground()
    }
    await world.node.runBackground()
    expect((await world.node.statistics(tableId)).segments.length).toBeGreaterThan(2)
    expect(await world.ids()).toEqual(range(0, 200))
  })
})

describe('failures of the log', () => {
  test('refused: the client hears of it, the key is free again', async () => {
    world.walFaults = () => ({ ...noFault, kind: 'refused' })
    expect(await sqlStateOf(world.commit(insert(doc(1))))).toBe('58030')
    world.walFaults = () => noFault
    await world.commit(insert(doc(1, 'second try')))
    expect(await world.rows()).toMatchObject([doc(1, 'second try')])
    await reopen()
    expect(await world.rows()).toMatchObject([doc(1, 'second try')])
  })

  for (const kind of ['lost', 'done-unknown'] as const) {
    test(`${kind}: the node refuses everything; the next one knows`, async () => {
      await world.commit(insert(doc(1)))
      world.walFaults = () => ({ ...noFault, kind })
      expect(await sqlStateOf(world.commit(insert(doc(2))))).toBe('57P01')
      world.walFaults = () => noFault
      expect(world.failures.length).toBe(1)
      expect(await sqlStateOf(world.commit(insert(doc(3))))).toBe('57P01')
      expect(() => world.node.serviceTime()).toThrow()
      await reopen()
      expect(await world.ids()).toEqual(kind === 'lost' ? [1] : [1, 2])
    })
  }

  test('DDL of a commit is handed back until it is settled, also when the log has forgotten it', async () => {
    const ddl = Uint8Array.of(1, 2, 3)
    const timestamp = await world.commit(insert(doc(1)), { ddl })
    await reopen()
    expect(world.node.recoveredDdl).toEqual([{ timestamp, ddl }])
    await world.node.flush(undefined, context)
    await reopen()
    expect(world.node.recoveredDdl).toEqual([{ timestamp, ddl }])
    await world.node.settleDdl(timestamp)
    await reopen()
    expect(world.node.recoveredDdl).toEqual([])
  })

  test('a table that is dropped while deletes of its segment are written down stays dropped', async () => {
    await world.commit(insert(doc(1), doc(2)))
    await world.node.flush(tableId, context)
    await world.commit({ deletes: await world.rowIdsOf(1) })
    let dropped: Promise<void> | undefined
    // The deletes object is on its way to the store; the drop is over before it is there.
    world.objectFaults = (operation, name) => {
      if (operation !== 'objects.put' || !name.includes('/deletes-')) return noFault
      dropped = world.node.dropTable(tableId)
      return { ...noFault, delayBeforeMs: 50 }
    }
    await world.node.flush(undefined, context)
    world.objectFaults = () => noFault
    expect(dropped).toBeDefined()
    await dropped
    // A manifest that came back would name objects that are collected (OBJ-1).
    expect(await world.coordinator.segments()).toEqual([])
  })

  test('a dropped table is forgotten', async () => {
    await world.commit(insert(doc(1)))
    await world.node.flush(tableId, context)
    await world.commit(insert(doc(2)))
    await world.node.dropTable(tableId)
    expect(await world.coordinator.segments()).toEqual([])
    expect(await sqlStateOf(world.commit(insert(doc(3))))).toBe('42P01')
    await reopen()
    await world.node.putTable(docs)
    expect(await world.ids()).toEqual([])
  })
})
