/** Writes build/snapshot/postgres.snapshot; see src/postgres/make-snapshot.ts. */
import { readFileSync } from 'node:fs'
import { makeSnapshot } from '#postgres/make-snapshot.js'

const root = new URL('..', import.meta.url)
const path = new URL('build/snapshot/postgres.snapshot', root)
await makeSnapshot(path.pathname, ['bootstrap', 'live'].map((name) => readFileSync(new URL(`sql/${name}.sql`, root), 'utf8')).join('\n'))
process.exit(0)
