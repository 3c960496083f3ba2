/** By hand: node --import tsx --conditions=source test/endurance/run.ts [--minutes 10] [--shards 2] [--seed N] */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runHandoff } from './handoff.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    shards: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const folder = await mkdtemp(join(tmpdir(), 'elanus-endurance-'))
print(`seed ${values.seed}`)
try {
  const report = await runHandoff({
    seconds: Number(values.minutes) * 60,
    seed: Number(values.seed),
    shards: Number(values.shards),
    data: join(folder, 'data'),
    onMinute: print,
  })
  print(JSON.stringify(report))
  if (report.recallMin < 0.95) process.exitCode = 1
} finally {
  await rm(folder, { recursive: true, force: true })
}
