/**
 * Generated statements, answered twice by the same server: with native plans, and by PostgreSQL alone over whole tables
 * (elanus.native_plans = off) or, given a peer, by a real PostgreSQL with pgvector. The answers must agree.
 */
import fc from 'fast-check'
import { difference } from './compare.js'
import { makeDataset, withoutShards } from './dataset.js'
import type { Answer, Parameter, Session } from './session.js'
import { type GeneratedStatement, statementArb } from './statements.js'
import { types } from './values.js'

export interface DifferentialOptions {
  readonly seed: number
  readonly statementCount: number
  /** Statements per generated pair of tables. */
  readonly perDataset: number
  /** No new tables are begun after it, when that many statements are done. */
  readonly deadline?: number
  readonly statementCountMin?: number
  /** A PostgreSQL of its own with the same tables. */
  readonly peer?: Session | undefined
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
  const sessions = { session, peer: options.peer }
  const both = async (sql: string): Promise<void> => {
    await session.run(sql)
    if (options.peer !== undefined) await options.peer.run(withoutShards(sql))
  }
  const counts = { statements: 0, failed: new Map<string, number>() }
  const differences: Difference[] = []
  await both('SET enable_indexscan = off')
  for (
    let datasetSeed = options.seed;
    counts.statements < options.statementCount;
    datasetSeed += 1
  ) {
    const isLate = options.deadline !== undefined && Date.now() > options.deadline
    if (isLate && counts.statements > (options.statementCountMin ?? 0)) break
    const dataset = makeDataset(datasetSeed, options.peer !== undefined)
    for (const step of dataset.steps) await both(step)
    const arb = statementArb(dataset)
    const half = Math.ceil(options.perDataset / 2)
    for (const inTransaction of [false, true]) {
      if (inTransaction) {
        await both('BEGIN')
        for (const sql of dataset.ownWrites) await both(sql)
      }
      const run = { datasetSeed, count: half, inTransaction }
      const found = await compareMany(sessions, arb, run, counts)
      if (found !== undefined) differences.push(found)
      if (inTransaction) await both('ROLLBACK')
    }
    options.onProgress?.(
      `tables ${datasetSeed}: ${counts.statements} statements, ${differences.length} differences`,
    )
  }
  return { statements: counts.statements, failedStatements: counts.failed, differences }
}

interface Sessions {
  readonly session: Session
  readonly peer: Session | undefined
}

async function compareMany(
  { session, peer }: Sessions,
  arb: fc.Arbitrary<GeneratedStatement>,
  run: { readonly datasetSeed: number; readonly count: number; readonly inTransaction: boolean },
  counts: { statements: number; readonly failed: Map<string, number> },
): Promise<Difference | undefined> {
  const { inTransaction } = run
  const property = fc.asyncProperty(arb, async (generated) => {
    // The second time the plan comes from the cache, with other values.
    for (const statement of [generated, ...withOtherValues(generated)]) {
      counts.statements += 1
      const found = await answer(session, statement, { nativePlans: 'on', inTransaction })
      const expected = await answer(
        peer ?? session,
        { ...statement, sql: statement.reference ?? statement.sql },
        { nativePlans: 'off', inTransaction },
      )
      const state = expected.error?.sqlState
      if (state !== undefined) counts.failed.set(state, (counts.failed.get(state) ?? 0) + 1)
      const what = difference(found, expected, statement.agreement)
      if (what !== undefined) throw new DifferenceError(what, statement)
    }
  })
  const details = await fc.check(property, { seed: run.datasetSeed, numRuns: run.count })
  if (!details.failed) return undefined
  const error = details.errorInstance
  if (!(error instanceof DifferenceError)) throw error
  const { statement, message: what } = error
  return { datasetSeed: run.datasetSeed, statement, inTransaction, what }
}

class DifferenceError extends Error {
  readonly statement: GeneratedStatement

  constructor(what: string, statement: GeneratedStatement) {
    super(what)
    this.statement = statement
  }
}

/** Whatever it changes is undone. */
async function answer(
  session: Session,
  { sql, parameters, resultFormat, reference }: GeneratedStatement,
  { nativePlans, inTransaction }: { nativePlans: 'on' | 'off'; inTransaction: boolean },
): Promise<Answer> {
  await session.run(`SET elanus.native_plans = ${nativePlans}`)
  if (inTransaction) await session.run('SAVEPOINT s')
  else if (reference !== undefined) await session.run('BEGIN')
  const result = await session.ask(sql, parameters, resultFormat)
  if (inTransaction) {
    const keep = result.error === undefined && reference === undefined
    await session.run(keep ? 'RELEASE s' : 'ROLLBACK TO s')
  } else if (reference !== undefined) {
    await session.run('ROLLBACK')
  }
  return result
}

function withOtherValues(statement: GeneratedStatement): readonly GeneratedStatement[] {
  if (statement.parameters.length === 0) return []
  const parameters = statement.parameters.map((parameter, i): Parameter => {
    const type = types.find(({ oid }) => oid === parameter.typeOid)
    const value = type?.values[(i * 7 + statement.sql.length) % type.values.length]
    if (type === undefined || value === undefined) return parameter
    const binary = parameter.value instanceof Uint8Array ? type.toBinary?.(value) : undefined
    return { typeOid: parameter.typeOid, value: binary ?? value }
  })
  return [{ ...statement, parameters }]
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
