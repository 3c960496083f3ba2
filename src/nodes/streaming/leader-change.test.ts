/** The leading coordinator dies in the middle of every kind of background work: the next one records what was done. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import type { VectorIndexSchema } from '#engine/columnar/schema.js'
import { followLeader } from '#nodes/coordinator/follow-leader.js'
import { type Candidate, startCandidate } from '#nodes/coordinator/leader.js'
import type { DataNode } from '#nodes/data/contract.js'
import { context, docs, insert, tableId, World } from '#nodes/streaming/streaming.testing.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { MemoryObjects } from '#storage/objects/memory/memory-objects.js'

const runtime = systemRuntime
const rows = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({ id: from + i, name: `doc ${from + i}` }))
const vectorIndex: VectorIndexSchema = {
  indexOid: 90,
  name: 'docs_e',
  attnum: 3,
  metric: 'l2',
  m: 8,
  efConstruction: 32,
}

interface Process {
  readonly candidate: Candidate
  readonly meta: MemoryMeta
}

let processes: Process[] = []
let world: World
/** How often the leader died during a job. */
let deaths = 0
let isDeadly = false

function start(disk: MemoryMetaDisk, id: string): Process {
  const meta = new MemoryMeta(disk, { runtime })
  return { meta, candidate: startCandidate({ meta, runtime, id, leaseMs: 400 }) }
}

/** As a process that is killed: nothing is given back. */
async function killLeader(): Promise<void> {
  const find = () => processes.find(({ candidate }) => candidate.isLeading())
  await expect.poll(find, { timeout: 10_000 }).toBeDefined()
  const leading = find()
  if (leading === undefined) return
  processes = processes.filter((one) => one !== leading)
  leading.meta.crash()
  void leading.candidate.stop()
  deaths += 1
}

/** Each job's objects are written, and nobody is there to be told. */
function deadly(node: DataNode): DataNode {
  const during = async <T>(job: Promise<T>): Promise<T> => {
    const done = await job
    if (isDeadly && processes.length > 2) await killLeader()
    return done
  }
  return {
    ...node,
    flush: (...all) => during(node.flush(...all)),
    buildIndex: (...all) => during(node.buildIndex(...all)),
    compact: (...all) => during(node.compact(...all)),
    writeDeletes: (...all) => during(node.writeDeletes(...all)),
    removeObjects: (...all) => during(node.removeObjects(...all)),
    removeSegment: (...all) => during(node.removeSegment(...all)),
  }
}

async function names(): Promise<string[]> {
  const found: string[] = []
  const objects = new MemoryObjects(world.objects, { runtime: world.runtime })
  for await (const { name } of objects.list('tables/')) found.push(name)
  return found
}

beforeEach(async () => {
  const disk = new MemoryMetaDisk(runtime)
  deaths = 0
  isDeadly = false
  processes = Array.from({ length: 12 }, (_, i) => start(disk, `c${i}`))
  world = await World.create()
  world.shared = true
  const all = processes.map(({ candidate }) => candidate)
  world.givenCoordinator = followLeader({ coordinators: all, runtime, patienceMs: 20_000 })
  world.dataNodeSeen = deadly
  await world.open({ backgroundIntervalMs: 5, retentionMs: 0 })
  await world.node.putTable(docs)
})
afterEach(async () => {
  await world.close()
  await Promise.all(processes.map(({ candidate }) => candidate.stop()))
})

test('flushes, merges, index builds and the removal of garbage go on under the next leader', async () => {
  isDeadly = true
  for (let part = 0; part < 4; part += 1) {
    await world.commit(insert(...rows(part * 20, part * 20 + 20)))
    await world.node.flush(tableId, context)
  }
  expect(deaths).toBe(4)
  const flushed = await names()
  await world.commit({ deletes: await world.rowIdsOf(1, 30) })
  await world.node.putTable({ ...docs, version: 2, vectorIndexes: [vectorIndex] })
  await world.node.compact(tableId, context, 'now')
  await world.node.buildIndex(tableId, 90, () => {}, context)
  expect(deaths).toBeGreaterThan(6)
  isDeadly = false
  await world.node.runBackground()
  const { segments, indexBuilds } = await world.node.statistics(tableId)
  expect(segments.map(({ stage }) => stage)).toEqual(['indexed'])
  expect(indexBuilds.size).toBe(0)
  expect(await world.ids()).toHaveLength(78)
  // What was merged is gone, what is there is named.
  expect((await names()).filter((name) => flushed.includes(name))).toEqual([])
  const [manifest] = (await world.givenCoordinator?.segments()) ?? []
  expect(manifest?.indexes).toHaveLength(1)
})
