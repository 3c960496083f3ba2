import { afterEach, describe, expect, test } from 'vitest'
import type { Timestamp } from '#base/timestamp.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { Cluster, request } from '#nodes/streaming/cluster.testing.js'
import type { CommitRequest } from '#nodes/streaming/contract.js'
import {
  batchOf,
  context,
  type Doc,
  docs,
  nameKeyOid,
  primaryKey,
  primaryKeyOid,
  tableId,
} from '#nodes/streaming/streaming.testing.js'

const nameKey: KeyConstraint = {
  name: 'docs_name_key',
  indexOid: nameKeyOid,
  attnums: [2],
  primary: false,
  nullsNotDistinct: false,
}
const sharded: TableSchema = { ...docs, keys: [primaryKey, nameKey], shardCount: 2 }
// tableId is even: shard 0 lies on log-0, shard 1 on log-1. The last by name decides.
const [participant, decider] = ['log-0', 'log-1']

let cluster: Cluster
afterEach(() => cluster.close())

async function open(clock: 'near' | 'remote' = 'near'): Promise<void> {
  cluster = await Cluster.create(2, clock)
  await cluster.openAll()
  for (const logChannel of cluster.logChannels) await cluster.node(logChannel).putTable(sharded)
}

const inserts = (shard: number, ...rows: readonly Doc[]) => ({ shard, inserts: [batchOf(rows)] })

async function ids(readAt?: Timestamp): Promise<number[]> {
  const rows = await cluster.rows(readAt ?? (await cluster.coordinator.timestamp()), [0, 1])
  return rows.map(({ id }) => id).sort((a, b) => a - b)
}

async function prepared(part: CommitRequest) {
  const id = await cluster.newTransactionId(decider)
  const { preparedAt } = await cluster.node(participant).prepare(id, part, context)
  const decides = { transactionId: id, participants: [participant], preparedAt }
  return { id, preparedAt, decides }
}

/** Whether it waits for something; a few turns and timers tell. */
async function isWaiting(promise: Promise<unknown>): Promise<boolean> {
  const later = new Promise<'later'>((resolve) => setTimeout(() => resolve('later'), 30))
  return (await Promise.race([promise.catch(() => {}), later])) === 'later'
}

async function reopen(logChannel: string): Promise<void> {
  cluster.members.get(logChannel)?.crash()
  await cluster.open(logChannel)
}

const settle = async (logChannel: string) => cluster.members.get(logChannel)?.node.runBackground()

describe.each(['near', 'remote'] as const)('with a coordinator that is %s', (clock) => {
  test('a transaction over two log channels is seen whole, at one timestamp', async () => {
    await open(clock)
    const { id, preparedAt, decides } = await prepared(request([inserts(0, { id: 1, name: 'a' })]))
    const decision = request([inserts(1, { id: 2, name: 'b' })], { decides })
    const { timestamp } = await cluster.node(decider).commit(decision, context)
    expect(timestamp).toBeGreaterThan(preparedAt)
    const reading = ids()
    expect(await isWaiting(reading)).toBe(true)
    expect(await ids((preparedAt - 1) as Timestamp)).toEqual([])
    await cluster.node(participant).finish(id, timestamp)
    expect(await reading).toEqual([1, 2])
    expect(await ids((timestamp - 1) as Timestamp)).toEqual([])
    expect(await ids(timestamp)).toEqual([1, 2])
  })

  test('many commits at once, single and over both, are all there', async () => {
    await open(clock)
    const work = Array.from({ length: 40 }, async (_, i) => {
      if (i % 2 === 0) {
        const one = request([inserts(0, { id: i, name: `n${i}` })])
        await cluster.node(participant).commit(one, context)
        return
      }
      const { id, decides } = await prepared(request([inserts(0, { id: i, name: `n${i}` })]))
      const rest = request([inserts(1, { id: 100 + i, name: `m${i}` })], { decides })
      const { timestamp } = await cluster.node(decider).commit(rest, context)
      await cluster.node(participant).finish(id, timestamp)
    })
    await Promise.all(work)
    expect(await ids()).toHaveLength(60)
    await reopen(participant)
    await reopen(decider)
    expect(await ids()).toHaveLength(60)
    expect(cluster.failures).toEqual([])
  })
})

describe('while a transaction is prepared', () => {
  test('its keys, rows and the keys it wants absent keep others waiting', async () => {
    await open()
    const node = cluster.node(participant)
    const first = request([inserts(0, { id: 1, name: 'a' }, { id: 5, name: 'e' })])
    await node.commit(first, context)
    const [row] = await cluster.rows(await cluster.coordinator.timestamp(), [0])
    const deletes = Float64Array.of(row?.rowId ?? 0)
    const { columns } = batchOf([{ id: 9, name: 'z' }])
    const absent = { rowCount: 1, columns: columns.slice(1, 2) }
    const { id } = await prepared(
      request([{ ...inserts(0, { id: 2, name: 'b' }), deletes }], {
        absentKeys: [{ tableId, indexOid: nameKeyOid, keys: absent }],
      }),
    )
    const conflicting = [
      node.commit(request([inserts(0, { id: 2, name: 'x' })]), context),
      node.commit(request([inserts(0, { id: 8, name: 'z' })]), context),
      node.commit(request([{ shard: 0, deletes }]), context),
      node.commit(request([{ shard: 0, truncate: true }]), context),
    ]
    for (const commit of conflicting) expect(await isWaiting(commit)).toBe(true)
    await node.commit(request([inserts(0, { id: 3, name: 'c' })]), context)
    await node.finish(id, undefined)
    await Promise.all(conflicting)
    expect(await ids()).toEqual([])
  })

  test('a row it refers to is not deleted', async () => {
    await open()
    const node = cluster.node(participant)
    await node.commit(request([inserts(0, { id: 1, name: 'a' })]), context)
    const readAt = await cluster.coordinator.timestamp()
    const [row] = await cluster.rows(readAt, [0])
    const deletes = Float64Array.of(row?.rowId ?? 0)
    const key = batchOf([{ id: 1, name: 'a' }]).columns[0]
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64BE(1n)
    expect(key?.kind).toBe('int64')
    const reference = {
      tableId,
      indexOid: primaryKeyOid,
      constraintName: 'fk',
      key: [new Uint8Array(bytes)],
    }
    const { id, decides } = await prepared(request([], { references: [reference] }))
    const gone = node.commit(request([{ shard: 0, deletes }], { readAt }), context)
    expect(await isWaiting(gone)).toBe(true)
    gone.catch(() => {})
    await reopen(participant)
    // Who read before cannot know what referred to the row then.
    const early = cluster
      .node(participant)
      .commit(request([{ shard: 0, deletes }], { readAt }), context)
    await expect(early).rejects.toMatchObject({ sqlState: '40001' })
    const readLater = await cluster.coordinator.timestamp()
    const again = cluster
      .node(participant)
      .commit(request([{ shard: 0, deletes }], { readAt: readLater }), context)
    expect(await isWaiting(again)).toBe(true)
    const rest = request([inserts(1, { id: 2, name: 'b' })], { decides })
    const { timestamp } = await cluster.node(decider).commit(rest, context)
    await cluster.node(participant).finish(id, timestamp)
    await expect(again).rejects.toMatchObject({ sqlState: '40001' })
  })

  test('a TRUNCATE waits for what is on its way to being prepared', async () => {
    await open()
    const coming = prepared(request([inserts(0, { id: 1, name: 'a' })]))
    const truncation = prepared(request([{ shard: 0, truncate: true }]))
    const before = await coming
    expect(await isWaiting(truncation)).toBe(true)
    const node = cluster.node(participant)
    await node.finish(before.id, await cluster.coordinator.timestamp())
    const { id } = await truncation
    await node.finish(id, await cluster.coordinator.timestamp())
    expect(await ids()).toEqual([])
  })

  test('a prepared TRUNCATE makes everyone wait, and waits for what is prepared before', async () => {
    await open()
    const node = cluster.node(participant)
    const before = await prepared(request([inserts(0, { id: 1, name: 'a' })]))
    const truncation = prepared(request([{ shard: 0, truncate: true }]))
    expect(await isWaiting(truncation)).toBe(true)
    await node.finish(before.id, await cluster.coordinator.timestamp())
    const { id } = await truncation
    const insert = node.commit(request([inserts(0, { id: 2, name: 'b' })]), context)
    expect(await isWaiting(insert)).toBe(true)
    await node.finish(id, await cluster.coordinator.timestamp())
    await insert
    expect(await ids()).toEqual([2])
    await reopen(participant)
    expect(await ids()).toEqual([2])
  })

  test('it survives flush, checkpoint and crash, and so does what it holds', async () => {
    await open()
    await cluster.node(participant).commit(request([inserts(0, { id: 1, name: 'a' })]), context)
    const { id, decides } = await prepared(request([inserts(0, { id: 2, name: 'b' })]))
    await cluster.node(participant).flush(undefined, context)
    await cluster.node(participant).commit(request([inserts(0, { id: 3, name: 'c' })]), context)
    await cluster.node(participant).flush(undefined, context)
    await reopen(participant)
    await cluster.node(participant).flush(undefined, context)
    const conflict = cluster
      .node(participant)
      .commit(request([inserts(0, { id: 2, name: 'x' })]), context)
    expect(await isWaiting(conflict)).toBe(true)
    const rest = request([inserts(1, { id: 4, name: 'd' })], { decides })
    const { timestamp } = await cluster.node(decider).commit(rest, context)
    await cluster.node(participant).finish(id, timestamp)
    await expect(conflict).rejects.toMatchObject({ sqlState: '23505' })
    await cluster.node(participant).flush(undefined, context)
    await reopen(participant)
    expect(await ids()).toEqual([1, 2, 3, 4])
  })

  test('a node that stops lets go of those that wait', async () => {
    await open()
    await prepared(request([inserts(0, { id: 2, name: 'b' })]))
    const waiting = cluster
      .node(participant)
      .commit(request([inserts(0, { id: 2, name: 'x' })]), context)
    const reading = ids()
    expect(await isWaiting(Promise.race([waiting, reading]))).toBe(true)
    const answers = Promise.allSettled([waiting, reading])
    await cluster.members.get(participant)?.stop()
    for (const answer of await answers) {
      expect(answer).toMatchObject({ status: 'rejected', reason: { sqlState: '57P01' } })
    }
    await cluster.open(participant)
    await settle(participant)
    expect(await ids()).toEqual([])
  })
})

describe('messages that come twice, late or never', () => {
  test('the decision stands, whoever repeats what', async () => {
    await open()
    const part = request([inserts(0, { id: 1, name: 'a' })])
    const { id, preparedAt, decides } = await prepared(part)
    expect(await cluster.node(participant).prepare(id, part, context)).toEqual({ preparedAt })
    const rest = request([inserts(1, { id: 2, name: 'b' })], { decides })
    const [one, two] = await Promise.all([
      cluster.node(decider).commit(rest, context),
      cluster.node(decider).commit(rest, context),
    ])
    expect(two).toEqual(one)
    await cluster.node(participant).finish(id, one.timestamp)
    await cluster.node(participant).finish(id, one.timestamp)
    expect(await cluster.node(decider).commit(rest, context)).toEqual(one)
    await expect(cluster.node(participant).prepare(id, part, context)).rejects.toMatchObject({
      sqlState: '40001',
    })
    await reopen(decider)
    expect(await cluster.node(decider).commit(rest, context)).toEqual(one)
    expect(await cluster.node(decider).outcome(id)).toEqual({
      kind: 'committed',
      timestamp: one.timestamp,
    })
    expect(await ids()).toEqual([1, 2])
  })

  test('a prepare message that comes after everything was forgotten is a ghost', async () => {
    await open()
    const part = request([inserts(0, { id: 1, name: null })])
    const { id, decides } = await prepared(part)
    const rest = request([inserts(1, { id: 2, name: 'b' })], { decides })
    const { timestamp } = await cluster.node(decider).commit(rest, context)
    await cluster.node(participant).finish(id, timestamp)
    const [row] = await cluster.rows(timestamp, [0])
    const deletes = Float64Array.of(row?.rowId ?? 0)
    await cluster.node(participant).commit(request([{ shard: 0, deletes }]), context)
    await cluster.node(participant).flush(undefined, context)
    await reopen(participant)
    await cluster.node(participant).prepare(id, part, context)
    await settle(participant)
    expect(await ids()).toEqual([2])
    await reopen(participant)
    expect(await ids()).toEqual([2])
  })

  test('a proxy that dies before the decision: aborted, for good', async () => {
    await open()
    const { id, decides } = await prepared(request([inserts(0, { id: 1, name: 'a' })]))
    await settle(participant)
    expect(await ids()).toEqual([])
    const late = request([inserts(1, { id: 2, name: 'b' })], { decides })
    const refused = { sqlState: '40001' }
    await expect(cluster.node(decider).commit(late, context)).rejects.toMatchObject(refused)
    await reopen(decider)
    await expect(cluster.node(decider).commit(late, context)).rejects.toMatchObject(refused)
    expect(await cluster.node(decider).outcome(id)).toEqual({ kind: 'aborted' })
    expect(await ids()).toEqual([])
  })

  test('a proxy that dies after the decision: the nodes bring it to its end, also after crashes', async () => {
    await open()
    const { id, decides } = await prepared(request([inserts(0, { id: 1, name: 'a' })]))
    const rest = request([inserts(1, { id: 2, name: 'b' })], { decides })
    const { timestamp } = await cluster.node(decider).commit(rest, context)
    await cluster.node(decider).commit(request([inserts(1, { id: 3, name: 'c' })]), context)
    // The log forgets the decision: it is kept elsewhere.
    await cluster.node(decider).flush(undefined, context)
    await reopen(decider)
    await reopen(participant)
    expect(await cluster.node(decider).outcome(id)).toEqual({ kind: 'committed', timestamp })
    await settle(decider)
    expect(await ids()).toEqual([1, 2, 3])
  })

  test('a commit that was refused is not executed when its message comes again', async () => {
    await open()
    await cluster.node(decider).commit(request([inserts(1, { id: 2, name: 'b' })]), context)
    const { id, decides } = await prepared(request([inserts(0, { id: 1, name: 'a' })]))
    const clash = request([inserts(1, { id: 2, name: 'x' })], { decides })
    await expect(cluster.node(decider).commit(clash, context)).rejects.toMatchObject({
      sqlState: '23505',
    })
    await cluster.node(participant).finish(id, undefined)
    const [row] = await cluster.rows(await cluster.coordinator.timestamp(), [1])
    const deletes = Float64Array.of(row?.rowId ?? 0)
    await cluster.node(decider).commit(request([{ shard: 1, deletes }]), context)
    await expect(cluster.node(decider).commit(clash, context)).rejects.toMatchObject({
      sqlState: '40001',
    })
    expect(await ids()).toEqual([])
  })

  test('a table is dropped while a transaction on it is prepared', async () => {
    await open()
    const { id } = await prepared(request([inserts(0, { id: 1, name: 'a' })]))
    await cluster.node(participant).dropTable(tableId)
    await cluster.node(participant).finish(id, await cluster.coordinator.timestamp())
    await reopen(participant)
    await cluster.node(participant).putTable(sharded)
    expect(await cluster.rows(await cluster.coordinator.timestamp(), [0])).toEqual([])
    expect(cluster.failures).toEqual([])
  })

  test('COPY rows go with the transaction', async () => {
    await open()
    // With a key whose rows may be anywhere none are staged.
    const plain = { ...sharded, keys: [primaryKey] }
    for (const name of cluster.logChannels) await cluster.node(name).putTable(plain)
    const staged = await cluster.node(participant).stage(tableId, 0)
    await staged.append(batchOf([{ id: 1, name: 'a' }]))
    const { id } = await prepared(request([], { staged: [staged] }))
    await staged.abort()
    await reopen(participant)
    await cluster.node(participant).finish(id, await cluster.coordinator.timestamp())
    expect(await ids()).toEqual([1])
    const given = await cluster.node(participant).stage(tableId, 0)
    await given.append(batchOf([{ id: 2, name: 'b' }]))
    const second = await prepared(request([], { staged: [given] }))
    await cluster.node(participant).finish(second.id, undefined)
    await given.abort()
    expect(await ids()).toEqual([1])
  })
})

describe.each(['near', 'remote'] as const)('a commit under locks, %s oracle', (clock) => {
  test('is stamped before they end, or refused; alone and deciding for others', async () => {
    await open(clock)
    const now = await cluster.coordinator.timestamp()
    const later = (now + 1e9) as Timestamp
    const node = cluster.node(decider)
    const first = inserts(1, { id: 1, name: 'a' })
    await node.commit(request([first], { before: later }), context)
    const late = request([inserts(1, { id: 2, name: 'b' })], { before: now })
    await expect(node.commit(late, context)).rejects.toMatchObject({ sqlState: '40001' })
    const { id, decides } = await prepared(request([inserts(0, { id: 3, name: 'c' })]))
    const deciding = request([inserts(1, { id: 4, name: 'd' })], { decides, before: now })
    await expect(node.commit(deciding, context)).rejects.toMatchObject({ sqlState: '40001' })
    expect(await node.outcome(id)).toEqual({ kind: 'aborted' })
    await cluster.node(participant).finish(id, undefined)
    expect(await ids()).toEqual([1])
  })
})
