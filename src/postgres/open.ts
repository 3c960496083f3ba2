/** Opens the embedded PostgreSQL: a catalog at once, evaluators in the background. */
import { createHash, webcrypto } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Catalog } from '#postgres/catalog.js'
import { loadParser } from '#postgres/classify.js'
import type { DdlEntry, Postgres } from '#postgres/contract.js'
import { EvaluatorPool } from '#postgres/evaluator-pool.js'
import type { InstanceSource } from '#postgres/instance.js'
import { evaluateJob } from '#postgres/make-jobs.js'
import { refuseUnsafe } from '#postgres/refuse.js'
import { InstanceStarter } from '#postgres/start-instance.js'

export interface PostgresOptions {
  /** File made by scripts/make-snapshot.ts. */
  readonly snapshotPath: string
  /** Everything the coordinator has logged, in order. */
  readonly ddlLog: readonly DdlEntry[]
  /** Statements evaluated at the same time; a spare comes on top. About 220 MB each. */
  readonly evaluatorCount?: number
  /** File of this process that makes its next start fast (image-file.ts); undefined: none is kept. */
  readonly imagePath?: string | undefined
}

/** @throws Error if the snapshot is missing; DatabaseError if an entry of the log cannot be replayed */
export async function openPostgres(options: PostgresOptions): Promise<Postgres> {
  const { snapshotPath, ddlLog, evaluatorCount = 1, imagePath } = options
  const [source] = await Promise.all([openSource(snapshotPath), loadParser()])
  const starter = new InstanceStarter({
    source,
    imagePath,
    onImage: (version) => evaluators.renew(version),
  })
  const catalog = new Catalog(starter, ddlLog)
  const evaluators = new EvaluatorPool(starter, () => catalog.log)
  await starter.load(ddlLog)
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
      await Promise.all([starter.close(), catalog.close(), evaluators.close()])
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
  const wasm = readFileSync(join(pglite, 'pglite.wasm'))
  const [compiled, program] = await Promise.all([
    WebAssembly.compile(wasm),
    hashOf([file, wasm, ...ownFiles()]),
  ])
  return { snapshot, compiled, program }
}

/** This folder: how entries are replayed. */
function ownFiles(): Uint8Array[] {
  const folder = import.meta.dirname
  return readdirSync(folder)
    .filter((name) => /\.[jt]s$/.test(name) && !name.includes('.test.'))
    .sort()
    .map((name) => readFileSync(join(folder, name)))
}

/** In a thread of its own: 30 MB. */
async function hashOf(parts: readonly Uint8Array[]): Promise<string> {
  const digests = await Promise.all(
    parts.map((part) => webcrypto.subtle.digest('SHA-256', part as Uint8Array<ArrayBuffer>)),
  )
  return createHash('sha256')
    .update(Buffer.concat(digests.map((digest) => Buffer.from(digest))))
    .digest('hex')
}
