/** One process: what a restart takes. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { startServer, type TestServer } from '../server.js'
import { connect, untilDone } from './attempts.js'
import { checkTables, joinTables, type Measuring, makeTables, printMemory } from './make-tables.js'
import { cpuSeconds, machineLoad } from './processes.js'

/** Evaluators come up in the background. */
const settledMs = 15_000

export async function measureStandalone(measuring: Measuring): Promise<void> {
  const { folder, port, tableCount, startArguments, print } = measuring
  const data = join(folder, 'data')
  rmSync(data, { recursive: true, force: true })
  const args = ['--log-channels', '2', ...startArguments]
  const start = (): Promise<TestServer> => startServer({ data, port, args })
  let server = await start()
  const client = await connect(server)
  await makeTables(client, measuring, processesOf(server))
  await checkTables(client, tableCount)
  await client.end()
  for (const how of ['stop', 'kill'] as const) {
    await server[how]()
    const starting = performance.now()
    server = await start()
    const readyMs = performance.now() - starting
    const pid = server.process?.pid ?? 0
    const cpuReady = cpuSeconds(pid)
    const queryMs = await untilDone(server, (one) => one.query('SELECT title FROM t0'))
    const joinMs = await untilDone(server, joinTables)
    await new Promise((resolve) => setTimeout(resolve, settledMs))
    print(
      `start after ${how}: ready after ${seconds(readyMs)} (CPU ${cpuReady.toFixed(1)} s), first SELECT ${seconds(queryMs)}, ` +
        `first join ${seconds(joinMs)}, all evaluators up with CPU ${cpuSeconds(pid).toFixed(1)} s; load ${machineLoad()}`,
    )
    printMemory(processesOf(server), print)
    const again = await connect(server)
    await checkTables(again, tableCount)
    await again.end()
  }
  await server.stop()
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}

function processesOf(server: TestServer): ReadonlyMap<string, number> {
  return new Map([['server', server.process?.pid ?? 0]])
}
