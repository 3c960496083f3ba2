/**
 * Makes the file that every embedded instance starts from: initdb, the files of sql/, a clean shutdown, and the
 * extensions' files beside it. About 4 s; run by the build (scripts/make-snapshot.ts).
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { PGlite } from '@electric-sql/pglite'
import { readDataFiles } from '#postgres/data-files.js'
import { type BundleFile, encodeBundle } from '#postgres/snapshot-bundle.js'
import { prefixDirectory } from '#postgres/start-options.js'
import { readTar } from '#postgres/tar.js'

/** Contrib modules that read no files, start no programs and need no preloading. */
const contrib = [
  'bloom',
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'dict_int',
  'dict_xsyn',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intarray',
  'isn',
  'lo',
  'ltree',
  'pg_trgm',
  'pgcrypto',
  'seg',
  'spi',
  'tablefunc',
  'tsm_system_rows',
  'tsm_system_time',
  'unaccent',
  'uuid-ossp',
]

/** @param bootstrapSql text of the files of sql/ in their order */
export async function makeSnapshot(path: string, bootstrapSql: string): Promise<void> {
  const pg = await PGlite.create({ initDbStartParams: ['--wal-segsize=1'] })
  const { FS } = pg.Module
  await pg.exec(bootstrapSql)
  await pg.exec('VACUUM (FREEZE, ANALYZE)')
  // The shutdown checkpoint spares every start a recovery; files stay readable after it.
  await pg.close()
  const files = [...readDataFiles(FS), ...extensionFiles()]
  mkdirSync(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, encodeBundle(files))
  renameSync(temporary, path)
}

function extensionFiles(): BundleFile[] {
  const require = createRequire(import.meta.url)
  const pglite = dirname(require.resolve('@electric-sql/pglite'))
  const pgvector = dirname(require.resolve('@electric-sql/pglite-pgvector'))
  const archives = [
    join(pgvector, 'vector.tar.gz'),
    ...contrib.map((name) => join(pglite, `${name}.tar.gz`)),
  ]
  const files = new Map<string, BundleFile>()
  for (const archive of archives) {
    for (const { name, content } of readTar(gunzipSync(readFileSync(archive)))) {
      const path = `${prefixDirectory}/${name}`
      files.set(path, { path, content })
    }
  }
  return [...files.values()]
}
