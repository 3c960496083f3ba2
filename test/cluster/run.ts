/**
 * By hand: node --import tsx --conditions=source test/cluster/run.ts [--scenario kills|partitions|stores] [--minutes 5] [--seed N]
 * [--victims a,b+c] [--only PATTERN] [--port N] [--folder DIR] [--clients 3] [-- arguments of cluster.mjs start]
 *
 * kills: SIGKILL of nodes and services. partitions: nodes on hosts of their own (network namespaces, needs root) between which
 * messages are dropped. stores: services that stand still, refuse or are full.
 * Leaves history, logs, data and the table of gaps in the folder. Exit status 1: something is wrong.
 */
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareChecker } from '../bank/check-isolation.js'
import { judge } from '../bank/judge.js'
import { randomFrom } from '../differential/random.js'
import { gapTable } from './gap-table.js'
import { openHosts } from './hosts.js'
import { allVictims, kills, parseVictims } from './kills.js'
import { Load } from './load.js'
import { partitions } from './partitions.js'
import { Programs } from './programs.js'
import { type Disturbance, runDisturbances } from './run-disturbances.js'
import { mountDisks, troubles } from './stores.js'

const { values, positionals } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    scenario: { type: 'string', default: 'kills' },
    victims: { type: 'string' },
    only: { type: 'string' },
    clients: { type: 'string', default: '3' },
    port: { type: 'string', default: '24700' },
    folder: { type: 'string' },
  },
  allowPositionals: true,
})
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'elanus-cluster-')))
await mkdir(folder, { recursive: true })
const seed = Number(values.seed)
const hosts = values.scenario === 'partitions' ? openHosts(folder) : undefined
const programs = new Programs({
  folder,
  port: Number(values.port),
  startArguments: positionals,
  ...(hosts === undefined ? {} : { places: hosts.places }),
})
const disks = values.scenario === 'stores' ? mountDisks(programs) : undefined
if (typeof disks === 'string') print(`no disk is made full: ${disks}`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

const historyPath = join(folder, 'history.jsonl')
const bank = { accountCount: 20, initialBalance: 100_000 }
const missing = prepareChecker()
print(
  `seed ${seed}, everything in ${folder}${missing === undefined ? '' : `, no isolation checker: ${missing}`}`,
)
await programs.start()
const load = new Load({
  proxies: programs.proxies,
  seed,
  historyPath,
  bank,
  bankClients: Number(values.clients),
})
const gaps = await runDisturbances({
  programs,
  load,
  disturbances: matching(values.only, disturbances()),
  minutes: Number(values.minutes),
  onStep: print,
})
await load.close()
await programs.stop()
hosts?.network.remove()
if (typeof disks === 'object') disks.unmount()

const table = gapTable(gaps)
await writeFile(join(folder, 'gaps.md'), `${table}\n`)
print(table)
const verdicts = await judge(historyPath, bank, missing === undefined)
const { transfers, snapshots, audits, violations, unknownThatHappened } = verdicts.bank
print(
  `transfers: ${transfers.ok} acknowledged, ${transfers.fail} refused, ${transfers.unknown} unknown (${unknownThatHappened} of them happened); ${snapshots} snapshots summed up, ${audits} audits`,
)
const wrong = [...violations, ...load.wrong]
for (const probe of [...load.readers, ...load.writers]) {
  wrong.push(...probe.wrong)
  const failures = [...probe.failures].map(([text, count]) => `${count} times ${text}`)
  print(
    `${probe.name}: ${probe.succeeded} succeeded, ${probe.retried} tried again at the other proxy, failed then: ${failures.join('; ') || 'none'}`,
  )
}
for (const error of new Set(load.unexpected)) print(`refused: ${error}`)
for (const level of ['snapshot', 'committed'] as const) {
  const verdict = verdicts[level]
  if (verdict === undefined) continue
  print(
    `${level}: ${verdict.transactions} transactions over lists, ${verdict.verdict} ${verdict.anomalies}`,
  )
  if (verdict.verdict !== 'valid') wrong.push(`${level}: ${verdict.report.slice(0, 4000)}`)
}
for (const line of wrong.slice(0, 30)) print(line)
print(wrong.length > 0 ? 'WRONG' : 'nothing lost, the total is constant, no wrong answer')
process.exitCode = wrong.length > 0 ? 1 : 0

function disturbances(): Iterable<Disturbance> {
  const random = randomFrom(seed)
  if (hosts !== undefined) return partitions(programs, hosts.network, random)
  if (values.scenario === 'stores') {
    return troubles(programs, random, typeof disks === 'object' ? disks : undefined)
  }
  const victims =
    values.victims === undefined ? allVictims(programs.services()) : parseVictims(values.victims)
  return kills(programs, random, victims)
}

function* matching(words: string | undefined, all: Iterable<Disturbance>): Generator<Disturbance> {
  const wanted = new RegExp(words ?? '')
  for (const one of all) if (wanted.test(one.name)) yield one
}
