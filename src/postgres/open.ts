/** Opens the embedded PostgreSQL: a catalog at once, evaluators in the background. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Catalog } from '#postgres/catalog.js'
import { loadParser } from '#postgres/classify.js'
import type { DdlEntry, Postgres } from '#postgres/contract.js'
import { EvaluatorPool } from '#postgres/evaluator-pool.js'
import type { InstanceSource } from '#postgres/instance.js'
import { evaluateJob } from '#postgres/make-jobs.js'
import { refuseUnsafe } from '#postgres/refuse.js'

export interface PostgresOptions {
  /** File made by scripts/make-snapshot.ts. */
  readonly snapshotPath: string
  /** Everything the coordinator has logged, in order. */
  readonly ddlLog: readonly DdlEntry[]
  /** Statements evaluated at the same time; a spare comes on top. About 220 MB each. */
  readonly evaluatorCount?: number
}

/** @throws Error if the snapshot is missing; DatabaseError if an entry of the log cannot be replayed */
export async function openPostgres(options: PostgresOptions): Promise<Postgres> {
  const { snapshotPath, ddlLog, evaluatorCount = 1 } = options
  const [source] = await Promise.all([openSource(snapshotPath), loadParser()])
  const catalog = new Catalog(source, ddlLog)
  const evaluators = new EvaluatorPool(source, () => catalog.log)
  try {
    await catalog.start()
  } catch (error) {
    await catalog.close()
    throw error
  }
  evaluators.start(evaluatorCount)
  return {
    catalog: () => catalog.snapshot(),
    describe: (statement, settings, pendingDdl) =>
      catalog.describe(statement, settings, pendingDdl),
    explain: (statement, settings, pendingDdl) => catalog.explain(statement, settings, pendingDdl),
    catalogQuery: (evaluation, context) => catalog.query(evaluation, context),
    evaluate: async (evaluation, context) => {
      refuseUnsafe(evaluation.statement.sql)
      return evaluators.run(evaluateJob(evaluation, catalog.snapshot()), context)
    },
    tryDdl: (sql, settings, pendingDdl) => catalog.tryDdl(sql, settings, pendingDdl),
    applyDdl: (entries) => catalog.apply(entries),
    close: async () => {
      await Promise.all([catalog.close(), evaluators.close()])
    },
  }
}

declare const WebAssembly: { compile(bytes: Uint8Array): Promise<unknown> }

async function openSource(snapshotPath: string): Promise<InstanceSource> {
  let file: Buffer
  try {
    file = readFileSync(snapshotPath)
  } catch (error) {
    throw new Error(
      `no snapshot of the embedded PostgreSQL at ${snapshotPath}: run npm run build`,
      {
        cause: error,
      },
    )
  }
  // Shared, so that every worker copies from the same memory.
  const snapshot = new Uint8Array(new SharedArrayBuffer(file.length))
  snapshot.set(file)
  const pglite = dirname(createRequire(import.meta.url).resolve('@electric-sql/pglite'))
  const compiled = await WebAssembly.compile(readFileSync(join(pglite, 'pglite.wasm')))
  return { snapshot, compiled }
}
