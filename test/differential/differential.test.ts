import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { describe, runDifferential } from './run-differential.js'
import { Session } from './session.js'

/** A printed seed set here repeats a run. */
const seed = Number(process.env['ELANUS_TEST_SEED'] ?? Date.now() % 1_000_000)

let server: TestServer

beforeAll(async () => {
  server = await startServer()
})

afterAll(async () => {
  await server?.stop()
})

test(`native plans answer as PostgreSQL alone does (seed ${seed})`, async () => {
  const session = await Session.open(server.port, server.user)
  const report = await runDifferential(session, {
    seed,
    statementCount: 3000,
    perDataset: 150,
    deadline: Date.now() + 30_000,
    statementCountMin: 300,
  })
  session.close()
  expect(report.differences.map(describe).join('\n\n')).toBe('')
  expect(report.statements).toBeGreaterThan(300)
}, 400_000)
