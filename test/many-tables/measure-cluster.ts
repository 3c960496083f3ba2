/** Nine processes over Kafka, etcd and MinIO: what each kill -9 keeps others waiting. */
import { nameCoordinators } from '../cluster/leader.js'
import { nodeNames, Programs } from '../cluster/programs.js'
import { connect, untilDone } from './attempts.js'
import {
  checkTables,
  createTable,
  joinTables,
  type Measuring,
  makeTables,
  printMemory,
} from './make-tables.js'
import { seconds } from './measure-standalone.js'
import { cpuSeconds, machineLoad } from './processes.js'

const settledMs = 15_000

export async function measureCluster(measuring: Measuring): Promise<void> {
  const { folder, port, tableCount, startArguments, print } = measuring
  const programs = new Programs({ folder, port, startArguments })
  await programs.start()
  const [first, second] = programs.proxies
  if (first === undefined || second === undefined) throw new Error('there are two proxies')
  const processes = (): ReadonlyMap<string, number> =>
    new Map([...nodeNames, 'etcd', 'kafka', 'minio'].map((name) => [name, programs.pid(name) ?? 0]))
  const client = await connect(first)
  await makeTables(client, measuring, processes())
  await client.end()

  await killProxy()
  await killLeader()
  await killStreaming()
  for (const proxy of programs.proxies) {
    const checking = await connect(proxy)
    await checkTables(checking, tableCount)
    await checking.end()
  }
  printMemory(processes(), print)
  const defects = programs.findDefects()
  for (const defect of defects.slice(0, 20)) print(defect)
  await programs.stop()
  if (defects.length > 0) process.exitCode = 1

  async function killProxy(): Promise<void> {
    if (second === undefined) return
    await programs.kill(['proxy-2'])
    const beganMs = performance.now()
    const restarting = programs.restart(['proxy-2'])
    await untilDone(second, (one) => one.query('SELECT title FROM t0'))
    const answerMs = performance.now() - beganMs
    const pid = programs.pid('proxy-2') ?? 0
    const cpuAnswer = cpuSeconds(pid)
    await restarting
    const joinMs = await untilDone(second, joinTables)
    await new Promise((resolve) => setTimeout(resolve, settledMs))
    print(
      `proxy started: first SELECT answered after ${seconds(answerMs)} (CPU ${cpuAnswer.toFixed(1)} s), first join ${seconds(joinMs)} later, ` +
        `all evaluators up with CPU ${cpuSeconds(pid).toFixed(1)} s; load ${machineLoad()}`,
    )
  }

  async function killLeader(): Promise<void> {
    const [leader = ''] = await nameCoordinators(['leader'], programs)
    const [follower = ''] = await nameCoordinators(['follower'], programs)
    const pid = programs.pid(follower) ?? 0
    const cpuBefore = cpuSeconds(pid)
    await programs.kill([leader])
    const [ddlMs, writeMs] = await waiting()
    print(
      `leader killed: next CREATE TABLE after ${seconds(ddlMs)}, next INSERT after ${seconds(writeMs)}; the new leader used ` +
        `CPU ${(cpuSeconds(pid) - cpuBefore).toFixed(1)} s; load ${machineLoad()}`,
    )
    await programs.restart([leader])
  }

  async function killStreaming(): Promise<void> {
    const pid = programs.pid('streaming-2') ?? 0
    const cpuBefore = cpuSeconds(pid)
    await programs.kill(['streaming-1'])
    const [ddlMs, writeMs] = await waiting()
    print(
      `streaming node killed: next CREATE TABLE after ${seconds(ddlMs)}, next INSERT after ${seconds(writeMs)}; the other used ` +
        `CPU ${(cpuSeconds(pid) - cpuBefore).toFixed(1)} s; load ${machineLoad()}`,
    )
    await programs.restart(['streaming-1'])
  }

  /** Both at once, each through a proxy of its own; rows go to both shards, so to both log channels. */
  function waiting(): Promise<[number, number]> {
    if (first === undefined || second === undefined) throw new Error('there are two proxies')
    const name = `after_${Math.floor(performance.now())}`
    return Promise.all([
      untilDone(first, (one) => one.query(createTable(name))),
      untilDone(second, (one) =>
        one.query(
          'INSERT INTO t3 (id, tenant) SELECT i, 1 FROM generate_series(100, 119) i ON CONFLICT DO NOTHING',
        ),
      ),
    ])
  }
}
