/** Writes build/snapshot/postgres.snapshot; see src/postgres/make-snapshot.ts. */
import { readFileSync } from 'node:fs'
import { makeSnapshot } from '#postgres/make-snapshot.js'

const root = new URL('..', import.meta.url)
const path = new URL('build/snapshot/postgres.snapshot', root)
await makeSnapshot(path.pathname, readFileSync(new URL('sql/bootstrap.sql', root), 'utf8'))
process.exit(0)
