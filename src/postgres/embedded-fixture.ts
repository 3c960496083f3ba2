/** For tests: an embedded PostgreSQL in this thread, without the workers around it. Not part of the product. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { buildCatalog } from '#postgres/build-catalog.js'
import { firstUserOid } from '#postgres/catalog-queries.js'
import type { CatalogSnapshot } from '#postgres/contract.js'
import { type Embedded, openEmbedded } from '#postgres/embedded.js'
import { InstanceJobs } from '#postgres/instance-jobs.js'
import type { ApplyResult, DdlStep, RawCatalog, TryDdlResult } from '#postgres/jobs.js'
import { snapshotPath } from '#postgres/postgres-fixture.js'
import type { InstanceKind } from '#postgres/start-options.js'
import { prepareDdl } from '#postgres/table-options.js'

declare const WebAssembly: { compile(bytes: Uint8Array): Promise<unknown> }

let compiling: Promise<unknown> | undefined

export interface Here {
  readonly embedded: Embedded
  readonly jobs: InstanceJobs
}

export async function openHere(kind: InstanceKind, image?: Uint8Array): Promise<Here> {
  const pglite = dirname(createRequire(import.meta.url).resolve('@electric-sql/pglite'))
  compiling ??= WebAssembly.compile(readFileSync(join(pglite, 'pglite.wasm')))
  const compiled = (await compiling) as Parameters<typeof openEmbedded>[2]
  const embedded = await openEmbedded(kind, readFileSync(snapshotPath), compiled, image)
  return { embedded, jobs: new InstanceJobs(embedded, kind) }
}

/** A catalog that is kept by changes, in this thread, as Catalog keeps it. */
export class Kept {
  readonly #jobs: InstanceJobs
  #nextOid = firstUserOid
  current: CatalogSnapshot
  /** What was applied. */
  readonly steps: DdlStep[] = []
  /** How the last statement was taken over. */
  wasChange = false

  constructor(jobs: InstanceJobs) {
    this.#jobs = jobs
    this.current = this.whole()
  }

  static async open(): Promise<Kept> {
    const kept = new Kept((await openHere('catalog')).jobs)
    kept.run('CREATE EXTENSION vector')
    return kept
  }

  /** Read from the beginning: what is right. */
  whole(): CatalogSnapshot {
    return buildCatalog(this.#jobs.run({ kind: 'snapshot' }) as RawCatalog, 0)
  }

  /** As tried, then as applied. @throws DatabaseError when PostgreSQL refuses it */
  run(...statements: readonly string[]): void {
    const settings = { user: 'postgres', gucs: [['search_path', 'public']] as [string, string][] }
    const steps: DdlStep[] = []
    let tried: CatalogSnapshot | undefined
    for (const sql of statements) {
      const step = prepareDdl({ sql, settings })
      const nextOid = this.#nextOid
      const job = { kind: 'tryDdl', pendingDdl: [...steps], step, nextOid } as const
      const { firstOid, catalog } = this.#jobs.run(job) as TryDdlResult
      tried = buildCatalog(catalog, 0, this.current)
      steps.push({ ...step, firstOid })
    }
    const job = { kind: 'apply', steps, atomic: true, wantsCatalog: true } as const
    const { nextOid, catalog } = this.#jobs.run(job) as ApplyResult
    if (catalog === undefined) throw new Error('no catalog')
    this.steps.push(...steps)
    this.wasChange = catalog.isChange
    this.#nextOid = nextOid
    this.current = buildCatalog(catalog, 0, this.current)
    expect(tried).toEqual(this.current)
  }
}
