/**
 * Generated statements, answered twice by the same server: with native plans, and by PostgreSQL alone over whole tables
 * (elanus.native_plans = off). The answers must agree.
 */
import fc from 'fast-check'
import { difference } from './compare.js'
import { makeDataset } from './dataset.js'
import type { Answer, Session } from './session.js'
import { type GeneratedStatement, statementArb } from './statements.js'

export interface DifferentialOptions {
  readonly seed: number
  readonly statementCount: number
  /** Statements per generated pair of tables. */
  readonly perDataset: number
  /** No new tables are begun after it. */
  readonly deadline?: number
  readonly onProgress?: (line: string) => void
}

export interface Difference {
  readonly datasetSeed: number
  readonly statement: GeneratedStatement
  readonly inTransaction: boolean
  readonly what: string
}

export interface DifferentialReport {
  readonly statements: number
  readonly failedStatements: ReadonlyMap<string, number>
  readonly differences: readonly Difference[]
}

export async function runDifferential(
  session: Session,
  options: DifferentialOptions,
): Promise<DifferentialReport> {
  const counts = { statements: 0, failed: new Map<string, number>() }
  const differences: Difference[] = []
  await session.run('SET enable_indexscan = off')
  for (
    let datasetSeed = options.seed;
    counts.statements < options.statementCount;
    datasetSeed += 1
  ) {
    if (options.deadline !== undefined && Date.now() > options.deadline) break
    const dataset = makeDataset(datasetSeed)
    for (const step of dataset.steps) await session.run(step)
    const arb = statementArb(dataset)
    const half = Math.ceil(options.perDataset / 2)
    for (const inTransaction of [false, true]) {
      if (inTransaction) {
        await session.run('BEGIN')
        for (const sql of dataset.ownWrites) await session.run(sql)
      }
      const found = await compareMany(
        session,
        arb,
        { datasetSeed, count: half, inTransaction },
        counts,
      )
      if (found !== undefined) differences.push(found)
      if (inTransaction) await session.run('ROLLBACK')
    }
    options.onProgress?.(
      `tables ${datasetSeed}: ${counts.statements} statements, ${differences.length} differences`,
    )
  }
  return { statements: counts.statements, failedStatements: counts.failed, differences }
}

async function compareMany(
  session: Session,
  arb: fc.Arbitrary<GeneratedStatement>,
  run: { readonly datasetSeed: number; readonly count: number; readonly inTransaction: boolean },
  counts: { statements: number; readonly failed: Map<string, number> },
): Promise<Difference | undefined> {
  const property = fc.asyncProperty(arb, async (statement) => {
    counts.statements += 1
    const found = await answer(session, statement, 'on', run.inTransaction)
    const expected = await answer(session, statement, 'off', run.inTransaction)
    const state = expected.error?.sqlState
    if (state !== undefined) counts.failed.set(state, (counts.failed.get(state) ?? 0) + 1)
    const what = difference(found, expected, statement.agreement)
    if (what !== undefined) throw new DifferenceError(what)
  })
  const details = await fc.check(property, { seed: run.datasetSeed, numRuns: run.count })
  if (!details.failed) return undefined
  const [smallest] = details.counterexample ?? []
  if (smallest === undefined) throw new Error(`no counterexample: ${details.errorInstance}`)
  const error = details.errorInstance
  if (!(error instanceof DifferenceError)) throw error
  return {
    datasetSeed: run.datasetSeed,
    statement: smallest,
    inTransaction: run.inTransaction,
    what: error.message,
  }
}

class DifferenceError extends Error {}

export async function answer(
  session: Session,
  statement: GeneratedStatement,
  nativePlans: 'on' | 'off',
  inTransaction: boolean,
): Promise<Answer> {
  await session.run(`SET elanus.native_plans = ${nativePlans}`)
  if (inTransaction) await session.run('SAVEPOINT s')
  const result = await session.ask(statement.sql, statement.parameters, statement.resultFormat)
  if (inTransaction)
    await session.run(`${result.error === undefined ? 'RELEASE' : 'ROLLBACK TO'} s`)
  return result
}

export function describe({ datasetSeed, statement, inTransaction, what }: Difference): string {
  const parameters = statement.parameters.map(({ value }) =>
    value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : value,
  )
  return [
    `tables of seed ${datasetSeed}${inTransaction ? ', own writes' : ''}, ${statement.resultFormat === 1 ? 'binary' : 'text'}, agree in ${JSON.stringify(statement.agreement)}`,
    `  ${statement.sql}`,
    ...(parameters.length === 0
      ? []
      : [
          `  parameters ${JSON.stringify(parameters)} of types ${statement.parameters.map(({ typeOid }) => typeOid)}`,
        ]),
    `  ${what}`,
  ].join('\n')
}
