/**
 * By hand: node --import tsx --conditions=source test/differential/run.ts [--port N] [--seed N] [--statements N] [--per-tables N]
 *   [--peer PORT]: compare with a PostgreSQL on that port (scripts/peer-postgres.py start) instead of with ourselves
 * Without --port a server is started.
 */
import { parseArgs } from 'node:util'
import { startServer } from '../server.js'
import { describe, runDifferential } from './run-differential.js'
import { Session } from './session.js'

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    statements: { type: 'string', default: '5000' },
    peer: { type: 'string' },
    'per-tables': { type: 'string', default: '200' },
  },
})
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
print(`seed ${values.seed}`)
const server = values.port === undefined ? await startServer() : undefined
const session = await Session.open(server?.port ?? Number(values.port))
const report = await runDifferential(session, {
  seed: Number(values.seed),
  statementCount: Number(values.statements),
  perDataset: Number(values['per-tables']),
  peer: values.peer === undefined ? undefined : await Session.open(Number(values.peer)),
  onProgress: print,
})
session.close()
await server?.stop()
for (const found of report.differences) print(`\n${describe(found)}`)
print(
  `\n${report.statements} statements, ${report.differences.length} differences; refused by both: ${JSON.stringify([...report.failedStatements])}`,
)
process.exitCode = report.differences.length === 0 ? 0 : 1
