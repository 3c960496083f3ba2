/** Writes build/snapshot/postgres.snapshot; see src/postgres/make-snapshot.ts. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { makeSnapshot } from '#postgres/make-snapshot.js'

const root = new URL('..', import.meta.url)
const sql = ['bootstrap', 'live'].map((name) =>
  readFileSync(new URL(`sql/${name}.sql`, root), 'utf8'),
)
await makeSnapshot(fileURLToPath(new URL('build/snapshot/postgres.snapshot', root)), sql.join('\n'))
process.exit(0)
