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
const fail = (why: string): void => {
  print(`FAILED: ${why}`)
  process.exitCode = 1
}
const folder = await mkdtemp(join(tmpdir(), 'elanus-endurance-'))
print(`seed ${values.seed}`)
try {
  const report = await runHandoff({
    seconds: Number(values.minutes) * 60,
    seed: Number(values.seed),
    shards: Number(values.shards),
    data: join(folder, 'data'),
    growMs: 60_000,
    onMinute: print,
  })
  print(JSON.stringify(report))
  const { recallMin, growingGraphs, sealedGraphs, byGraph, searches } = report
  if (recallMin < 0.95) fail(`recall ${recallMin}`)
  // Exact scans find everything: they would show nothing of graphs.
  if (byGraph < 100) fail(`graphs answered only ${byGraph} of ${searches} searches`)
  if (Math.min(growingGraphs, sealedGraphs) < 25)
    fail(`searches by graph of growing segments: ${growingGraphs}, of sealed ones: ${sealedGraphs}`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
