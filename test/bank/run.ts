/**
 * By hand: node --import tsx --conditions=source test/bank/run.ts [--minutes 30] [--connections 16] [--shards 1] [--log-channels 1]
 * [--seed N] [--folder DIR]. Leaves history and data in the folder. Exit status 1: something is wrong.
 */
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareChecker } from './check-isolation.js'
import { judge } from './judge.js'
import { runBank } from './run-bank.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    connections: { type: 'string', default: '16' },
    shards: { type: 'string', default: '1' },
    'log-channels': { type: 'string', default: '1' },
    accounts: { type: 'string', default: '40' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    folder: { type: 'string' },
  },
})
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'elanus-bank-')))
await mkdir(folder, { recursive: true })
const historyPath = join(folder, 'history.jsonl')
const bank = { accountCount: Number(values.accounts), initialBalance: 100_000 }
const missing = prepareChecker()
print(
  `seed ${values.seed}, history in ${historyPath}${missing === undefined ? '' : `, no isolation checker: ${missing}`}`,
)
const report = await runBank({
  seconds: Number(values.minutes) * 60,
  connections: Number(values.connections),
  shards: Number(values.shards),
  logChannels: Number(values['log-channels']),
  seed: Number(values.seed),
  data: join(folder, 'data'),
  historyPath,
  bank,
  upMs: [1500, 6000],
  onRound: print,
})
const verdicts = await judge(historyPath, bank, missing === undefined)
const { transfers, snapshots, audits, violations, unknownThatHappened } = verdicts.bank
print(
  `${report.rounds} rounds, ${report.kills} kills and ${report.killsDuringStart} more during start-up`,
)
print(
  `transfers: ${transfers.ok} acknowledged, ${transfers.fail} refused, ${transfers.unknown} unknown (${unknownThatHappened} of them happened); ${snapshots} snapshots summed up, ${audits} audits`,
)
let wrong = violations.length > 0 || report.unexpected.length > 0
for (const violation of violations.slice(0, 20)) print(violation)
for (const error of new Set(report.unexpected)) print(`unexpected: ${error}`)
for (const level of ['snapshot', 'committed'] as const) {
  const verdict = verdicts[level]
  if (verdict === undefined) continue
  wrong ||= verdict.verdict !== 'valid'
  print(
    `${level}: ${verdict.transactions} transactions over lists, ${verdict.verdict} ${verdict.anomalies}`,
  )
  if (verdict.verdict !== 'valid') print(verdict.report.slice(0, 4000))
}
print(wrong ? 'WRONG' : 'nothing lost, nothing half there, the total is constant')
process.exitCode = wrong ? 1 : 0
