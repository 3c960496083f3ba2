import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { prepareChecker } from './check-isolation.js'
import { judge } from './judge.js'
import { runBank } from './run-bank.js'

const seed = Number(process.env['ELANUS_TEST_SEED'] ?? Date.now() % 1_000_000)
/** Why there is no isolation checker, if so. */
const missing = prepareChecker()

test(`a bank whose server is killed again and again keeps its total (seed ${seed})`, async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'elanus-bank-'))
  const historyPath = join(folder, 'history.jsonl')
  const bank = { accountCount: 20, initialBalance: 10_000 }
  try {
    const report = await runBank({
      seconds: 15,
      connections: 8,
      shards: 1,
      logChannels: 1,
      seed,
      data: join(folder, 'data'),
      historyPath,
      bank,
      upMs: [1000, 3000],
    })
    const verdicts = await judge(historyPath, bank, missing === undefined)
    expect(verdicts.bank.violations).toEqual([])
    expect([...new Set(report.unexpected)]).toEqual([])
    expect(report.kills).toBeGreaterThan(0)
    expect(verdicts.bank.audits).toBeGreaterThan(1)
    for (const level of ['snapshot', 'committed'] as const) {
      const verdict = verdicts[level]
      if (verdict !== undefined) expect(verdict.verdict, verdict.report).not.toBe('anomalies')
    }
    if (missing !== undefined) context.annotate?.(`isolation not checked: ${missing}`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 150_000)
