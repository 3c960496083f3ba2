import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runCrashRounds } from './run-rounds.js'

/** A printed seed set here repeats a run, as far as moments can be repeated. */
const seed = Number(process.env['ELANUS_TEST_SEED'] ?? Date.now() % 1_000_000)

test(`kill -9 at random moments loses, doubles and halves nothing (seed ${seed})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'elanus-crash-'))
  try {
    const report = await runCrashRounds({
      rounds: 8,
      seed,
      data: join(folder, 'data'),
      writerCount: 4,
      roundsPerDirectory: 4,
      deadline: Date.now() + 75_000,
    })
    expect(report.operations).toBeGreaterThan(0)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 150_000)
