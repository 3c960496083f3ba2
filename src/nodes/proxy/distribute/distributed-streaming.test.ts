/** The facade over real streaming nodes on in-memory stores, and a network that loses requests and answers. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DatabaseError, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import { rowIdsOfShard } from '#engine/columnar/row-id.js'
import {
  type DistributedStreaming,
  openDistributedStreaming,
} from '#nodes/proxy/distribute/distributed-streaming.js'
import { scanShards } from '#nodes/proxy/distribute/fan-out.js'
import { routeBatches } from '#nodes/proxy/distribute/route.js'
import { verifyKeys } from '#nodes/proxy/distribute/verify-keys.js'
import { Cluster } from '#nodes/streaming/cluster.testing.js'
import { type ChannelWrite, logChannelOf, type StreamingNode } from '#nodes/streaming/contract.js'
import {
  batchOf,
  context,
  type Doc,
  docAt,
  docs,
  nameKeyOid,
  primaryKeyOid,
  tableId,
} from '#nodes/streaming/streaming.testing.js'

const logChannelCount = 3
const shards = [0, 1, 2, 3]
const table = {
  ...docs,
  shardCount: shards.length,
  keys: [
    ...docs.keys,
    {
      name: 'docs_name_key',
      indexOid: nameKeyOid,
      attnums: [2],
      primary: false,
      nullsNotDistinct: false,
    },
  ],
}

type Loss = (verb: string) => 'nothing' | 'request' | 'answer'

/** Every verb with an answer may lose its request or its answer. */
function lossy(node: () => StreamingNode, lossOf: Loss): StreamingNode {
  const over = async <T>(verb: string, ask: () => Promise<T>): Promise<T> => {
    const lost = lossOf(verb)
    if (lost === 'request') throw new UnreachableError('indeterminate', `${verb}: no answer`)
    const answer = await ask()
    if (lost === 'answer') throw new UnreachableError('indeterminate', `${verb}: no answer`)
    return answer
  }
  return {
    ...node(),
    serviceTime: () => node().serviceTime(),
    term: () => over('term', () => node().term()),
    commit: (request, inner) => over('commit', () => node().commit(request, inner)),
    prepare: (id, request, inner) => over('prepare', () => node().prepare(id, request, inner)),
    finish: (id, at) => over('finish', () => node().finish(id, at)),
    outcome: (id) => over('outcome', () => node().outcome(id)),
    findConflict: (write, inner) => over('findConflict', () => node().findConflict(write, inner)),
    async *scan(fragment, inner) {
      if (lossOf('scan') !== 'nothing') throw new UnreachableError('determinate', 'scan: no answer')
      return yield* node().scan(fragment, inner)
    },
  }
}

let cluster: Cluster
let streaming: DistributedStreaming
let loss: Loss = () => 'nothing'

/** Pauses are short: nothing here waits for a machine. */
const runtime = {
  ...systemRuntime,
  sleep: (ms: number, signal?: AbortSignal) => systemRuntime.sleep(Math.min(ms, 1), signal),
}

beforeEach(async () => {
  loss = () => 'nothing'
  cluster = await Cluster.create(logChannelCount, 'near')
  await cluster.openAll()
  streaming = open(runtime)
  await streaming.putTable(table)
})

function open(within: Runtime): DistributedStreaming {
  return openDistributedStreaming({
    nodes: new Map(
      cluster.logChannels.map((name) => [
        name,
        lossy(
          () => cluster.node(name),
          (verb) => loss(verb),
        ),
      ]),
    ),
    logChannelOf: (id, shard) => logChannelOf(id, shard, logChannelCount),
    oracle: cluster.coordinator,
    runtime: within,
  })
}

afterEach(async () => {
  loss = () => 'nothing'
  await streaming.stop()
  await cluster.close()
})

function writesOf(rows: readonly Doc[], deletes: readonly number[] = []): ChannelWrite[] {
  const routed = rows.length === 0 ? [] : routeBatches(table, [batchOf(rows)], () => 0)
  const gone = Float64Array.from(deletes).sort()
  return shards.flatMap((shard) => {
    const write = {
      tableId,
      shard,
      truncate: false,
      deletes: rowIdsOfShard(gone, shard),
      inserts: routed.find((part) => part.shard === shard)?.batches ?? [],
    }
    return write.deletes.length + write.inserts.length > 0 ? [write] : []
  })
}

async function commit(rows: readonly Doc[], deletes: readonly number[] = []): Promise<Timestamp> {
  const { timestamp } = await streaming.commit(
    { writes: writesOf(rows, deletes), staged: [], references: [], readAt: 0 as Timestamp },
    context,
  )
  return timestamp
}

async function read(readAt: Timestamp): Promise<(Doc & { readonly rowId: number })[]> {
  const found: (Doc & { readonly rowId: number })[] = []
  const scan = scanShards(streaming, { tableId, readAt, output: [1, 2] }, shards, context)
  for await (const { rowIds, batch } of scan)
    rowIds.forEach((rowId, row) => {
      found.push({ rowId, ...docAt(batch, row) })
    })
  return found.sort((a, b) => a.id - b.id)
}

async function ids(readAt?: Timestamp): Promise<number[]> {
  return (await read(readAt ?? (await streaming.strongTimestamp()))).map(({ id }) => id)
}

const many = (from: number, count: number): Doc[] =>
  Array.from({ length: count }, (_, i) => ({ id: from + i, name: `n${from + i}` }))

describe('a transaction over several log channels', () => {
  test('is seen whole at its timestamp, and not before', async () => {
    const at = await commit(many(1, 20))
    expect(await ids(at)).toEqual(many(1, 20).map(({ id }) => id))
    expect(await ids((at - 1) as Timestamp)).toEqual([])
    const later = await commit(
      many(21, 20),
      (await read(at)).map(({ rowId }) => rowId),
    )
    expect(await ids(later)).toEqual(many(21, 20).map(({ id }) => id))
    expect(await ids(at)).toEqual(many(1, 20).map(({ id }) => id))
  })

  test('that breaks a key in one shard has happened in none', async () => {
    await commit(many(1, 8))
    await expect(commit([...many(50, 8), { id: 3, name: 'other' }])).rejects.toMatchObject({
      sqlState: '23505',
    })
    expect(await ids()).toEqual(many(1, 8).map(({ id }) => id))
    await commit(many(50, 8))
  })

  test('keeps a unique key that lies in any shard', async () => {
    await commit(many(1, 12))
    for (const id of [101, 102, 103, 104, 105]) {
      await expect(commit([{ id, name: 'n7' }])).rejects.toMatchObject({ sqlState: '23505' })
    }
    const [seventh] = (await read(await streaming.strongTimestamp())).filter(({ id }) => id === 7)
    await commit([{ id: 106, name: 'n7' }], [seventh?.rowId ?? 0])
    expect(await ids()).toContain(106)
  })

  test('a reference is asserted where the key is', async () => {
    await commit(many(1, 8))
    const reference = (id: number) => ({
      tableId,
      indexOid: primaryKeyOid,
      constraintName: 'child_docs_fkey',
      key: [int8(id)],
    })
    const asserting = (id: number) =>
      streaming.commit(
        {
          writes: writesOf([{ id: 200 + id, name: `c${id}` }]),
          staged: [],
          references: [reference(id)],
          readAt: 0 as Timestamp,
        },
        context,
      )
    for (const id of [1, 2, 3, 4]) await asserting(id)
    await expect(asserting(99)).rejects.toMatchObject({ sqlState: '23503' })
  })

  test('those that meet the same keys in any order never wait for each other', async () => {
    const rows = many(1, 16)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, i) => commit(i % 2 === 0 ? rows : [...rows].reverse())),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await ids()).toEqual(rows.map(({ id }) => id))
  })
})

test('over a network that loses requests and answers, what is told is what is there', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 60, maxLength: 60 }),
      fc.array(fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }), {
        minLength: 3,
        maxLength: 8,
      }),
      async (losses, transactions) => {
        const before = await read(await streaming.strongTimestamp())
        await commit(
          [],
          before.map(({ rowId }) => rowId),
        )
        let next = 0
        loss = () => {
          const one = losses[next++ % losses.length] ?? 0
          return one === 0 ? 'request' : one === 1 ? 'answer' : 'nothing'
        }
        const possible: Set<number>[] = [new Set()]
        for (const wanted of transactions) {
          const rows = wanted.map((id) => ({ id, name: `n${id}` }))
          try {
            await commit(rows)
            // Certain from here on, in every world in which it could happen.
            const worlds = possible.filter((world) => wanted.every((id) => !world.has(id)))
            possible.splice(0, possible.length, ...worlds.map((world) => union(world, wanted)))
          } catch (error) {
            if (!(error instanceof DatabaseError)) throw error
            if (error.sqlState === '08007') {
              const also = possible
                .filter((world) => wanted.every((id) => !world.has(id)))
                .map((world) => union(world, wanted))
              possible.push(...also)
            } else if (!['23505', '40001', '08006'].includes(error.sqlState)) throw error
          }
        }
        loss = () => 'nothing'
        const seen = await ids()
        expect(possible.map((world) => [...world].sort((a, b) => a - b))).toContainEqual(seen)
      },
    ),
    { numRuns: 25 },
  )
})

test('who waited for a lost decision is told what became of it', async () => {
  let lostCommits = 0
  loss = (verb) => {
    if (verb !== 'commit' || lostCommits === 1) return 'nothing'
    lostCommits += 1
    return 'answer'
  }
  await commit(many(1, 20))
  expect(lostCommits).toBe(1)
  expect(await ids()).toHaveLength(20)
})

test('statistics count what was committed here, once participants have been told', async () => {
  let left = 3
  const opened = open(systemRuntime)
  await opened.putTable(table)
  loss = (verb) => {
    if (verb !== 'finish' || left === 0) return 'nothing'
    left -= 1
    return 'request'
  }
  const rows = Array.from({ length: 12 }, (_, id) => ({ id, name: `doc ${id}` }))
  const readAt = await opened.strongTimestamp()
  const request = { writes: writesOf(rows), staged: [], references: [], readAt }
  await opened.commit(request, context)
  expect((await opened.statistics(tableId)).liveRows).toBeLessThan(rows.length)
  await opened.told()
  expect(left).toBe(0)
  expect((await opened.statistics(tableId)).liveRows).toBe(rows.length)
  await opened.stop()
})

test('statistics of all log channels are added up', async () => {
  await commit(many(1, 30))
  // A read waits until all participants have heard of it.
  expect(await ids()).toHaveLength(30)
  const { liveRows, segments } = await streaming.statistics(tableId)
  expect(liveRows).toBe(30)
  expect(new Set(segments.map(({ shard }) => shard)).size).toBe(shards.length)
})

function union(world: ReadonlySet<number>, more: readonly number[]): Set<number> {
  return new Set([...world, ...more])
}

function int8(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8))
  view.setBigInt64(0, BigInt(value))
  return new Uint8Array(view.buffer)
}

describe('a unique key that comes to a table with rows', () => {
  const plain = (id: number) => ({ ...table, tableId: id, version: 1, keys: docs.keys })
  const keyed = (id: number) => ({ ...table, tableId: id, version: 2 })
  const noRowIds = new Float64Array()

  /** Through another proxy, which knows the table without the key. */
  function another(id: number): DistributedStreaming {
    const proxy = openDistributedStreaming({
      nodes: new Map(cluster.logChannels.map((name) => [name, cluster.node(name)])),
      logChannelOf: (of, shard) => logChannelOf(of, shard, logChannelCount),
      oracle: cluster.coordinator,
      runtime,
    })
    proxy.noteTable(plain(id))
    return proxy
  }

  async function insert(proxy: DistributedStreaming, id: number, rows: readonly Doc[]) {
    const writes = writesOf(rows).map((write) => ({ ...write, tableId: id }))
    await proxy.commit({ writes, staged: [], references: [], readAt: 0 as Timestamp }, context)
  }

  async function create(id: number): Promise<void> {
    await streaming.putTable(keyed(id))
    const added = keyed(id).keys.filter(({ indexOid }) => indexOid === nameKeyOid)
    await verifyKeys(streaming, keyed(id), added, noRowIds, context)
  }

  async function names(id: number): Promise<(string | null)[]> {
    const readAt = await streaming.strongTimestamp()
    const found: (string | null)[] = []
    const scan = scanShards(streaming, { tableId: id, readAt, output: [1, 2] }, shards, context)
    for await (const { rowIds, batch } of scan)
      rowIds.forEach((_, row) => {
        found.push(docAt(batch, row).name)
      })
    return found
  }

  test('is refused when rows on different log channels break it', async () => {
    await streaming.putTable(plain(17_000))
    await insert(streaming, 17_000, [...many(1, 20), { id: 21, name: 'n7' }])
    await expect(create(17_000)).rejects.toMatchObject({
      sqlState: '23505',
      message: 'could not create unique index "docs_name_key"',
    })
  })

  test('takes NULLs for different', async () => {
    await streaming.putTable(plain(17_001))
    await insert(streaming, 17_001, [{ id: 1, name: null }, ...many(2, 4), { id: 7, name: null }])
    await create(17_001)
  })

  test('refuses rows of a proxy that has not heard of it', async () => {
    await streaming.putTable(plain(17_002))
    const late = another(17_002)
    await insert(late, 17_002, many(1, 4))
    await create(17_002)
    await expect(insert(late, 17_002, many(10, 1))).rejects.toMatchObject({ sqlState: '40001' })
    late.noteTable(keyed(17_002))
    await insert(late, 17_002, many(10, 1))
    await expect(insert(late, 17_002, [{ id: 11, name: 'n3' }])).rejects.toMatchObject({
      sqlState: '23505',
    })
  })

  test('and rows that break it never both come to be', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 60 }), { minLength: 4, maxLength: 4 }),
        async (delays) => {
          tableCount += 1
          const id = 18_000 + tableCount
          await streaming.putTable(plain(id))
          const late = another(id)
          const inserting = delays.map(async (delay, i) => {
            for (let turn = 0; turn < delay; turn += 1) await Promise.resolve()
            if (delay % 3 === 0) await runtime.sleep(0)
            const rows = Array.from({ length: 3 }, (_, j) => ({
              id: i * 10 + j,
              name: `n${i % 2}${j}`,
            }))
            await insert(late, id, rows)
          })
          const created = await create(id).then(
            () => 'created',
            (error: unknown) => (error instanceof DatabaseError ? error.sqlState : String(error)),
          )
          const outcomes = await Promise.allSettled(inserting)
          for (const outcome of outcomes) {
            if (outcome.status === 'rejected')
              expect(outcome.reason).toMatchObject({ sqlState: '40001' })
          }
          const found = await names(id)
          if (created === 'created') expect(new Set(found).size).toBe(found.length)
          else expect(created).toBe('23505')
          await late.stop()
        },
      ),
      { numRuns: 60 },
    )
  })
})

let tableCount = 0
