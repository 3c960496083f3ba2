/** By hand: node --import tsx --conditions=source test/crash/run.ts [--rounds 300] [--seed N] [--data DIR] [--writers 4] */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runCrashRounds } from './run-rounds.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    data: { type: 'string' },
    writers: { type: 'string', default: '4' },
    'per-directory': { type: 'string', default: '15' },
  },
})
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const data = values.data ?? join(await mkdtemp(join(tmpdir(), 'elanus-crash-')), 'data')
print(`seed ${values.seed}, data in ${data}`)
const report = await runCrashRounds({
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  data,
  writerCount: Number(values.writers),
  roundsPerDirectory: Number(values['per-directory']),
  onRound: print,
})
print(
  `${report.rounds} rounds, ${report.operations} operations, ${report.killsDuringStart} kills during start-up: nothing lost, doubled or half there`,
)
