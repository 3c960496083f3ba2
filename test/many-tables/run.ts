/**
 * By hand: node --import tsx --conditions=source test/many-tables/run.ts [--tables 1000] [--where standalone|cluster] [--port N]
 * [--folder DIR] [-- arguments of cluster.mjs start, or of elanus start]
 *
 * Makes that many tables with two shards and two rows each, and prints what a DDL statement takes meanwhile, how long a restart
 * (standalone), a killed proxy, a killed leader and a killed streaming node (cluster) keep others waiting, and what memory each
 * process has. Measures, judges nothing but the number of tables and rows.
 */
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureCluster } from './measure-cluster.js'
import { measureStandalone } from './measure-standalone.js'

const { values, positionals } = parseArgs({
  options: {
    tables: { type: 'string', default: '1000' },
    where: { type: 'string', default: 'standalone' },
    port: { type: 'string', default: '24900' },
    folder: { type: 'string' },
  },
  allowPositionals: true,
})
const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'elanus-tables-')))
await mkdir(folder, { recursive: true })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

const measure = values.where === 'cluster' ? measureCluster : measureStandalone
await measure({
  folder,
  port: Number(values.port),
  tableCount: Number(values.tables),
  startArguments: positionals,
  print: (line) => {
    process.stdout.write(`${line}\n`)
  },
})
