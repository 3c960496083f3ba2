/**
 * Values of the meta store by the kind of their key (src/nodes/coordinator/meta-keys.ts, and those who keep settings). A
 * key that is not known here is shown as JSON, text or bytes, whatever it is.
 */
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { decodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import { decodeDdlBatch } from '#nodes/proxy/session/commit.js'
import { decodeNote, droppedTablesPrefix } from '#nodes/proxy/session/dropped-tables.js'
import { decodeTable } from '#nodes/streaming/table-settings.js'
import { describeBytes, describeTimestamp, shorten } from './describe.js'
import { describeManifest } from './inspect-manifest.js'

interface KeyKind {
  readonly prefix: string
  describe(value: Buffer, rest: string): readonly string[]
}

const number = (words: (value: number) => string) => (value: Buffer) => {
  const decoded = decodeNumber(value)
  if (Number.isNaN(decoded)) throw new Error(`"${describeBytes(value)}" is no number`)
  return [words(decoded)]
}

const kinds: readonly KeyKind[] = [
  { prefix: metaKeys.term, describe: number((term) => `term of the coordinator: ${term}`) },
  {
    prefix: metaKeys.oracleLimit,
    describe: number((limit) => `timestamps below ${describeTimestamp(limit)} are handed out`),
  },
  { prefix: metaKeys.counter(''), describe: number((next) => `next number: ${next}`) },
  {
    prefix: metaKeys.segmentPrefix,
    describe: (value) => describeManifest(JSON.parse(value.toString()) as SegmentManifest),
  },
  {
    prefix: metaKeys.checkpoint('row-id/'),
    describe: number((rowId) => `row ids below ${rowId} were given out`),
  },
  {
    prefix: metaKeys.checkpoint('channel/'),
    describe: number((position) => `in sealed segments up to log position ${position}`),
  },
  {
    prefix: metaKeys.checkpointPrefix,
    describe: number((position) => `replay from position ${position}`),
  },
  {
    prefix: metaKeys.owner(''),
    describe(value) {
      const { term, servesBefore } = JSON.parse(value.toString()) as {
        readonly term: number
        readonly servesBefore: number
      }
      return [`owned in term ${term}, which serves reads before ${describeTimestamp(servesBefore)}`]
    },
  },
  { prefix: metaKeys.setting('password/'), describe: (value) => [describePassword(value)] },
  {
    prefix: metaKeys.setting('sequence/'),
    describe: (value) => [`values up to ${describeBytes(value)} are leased`],
  },
  {
    prefix: metaKeys.setting(droppedTablesPrefix),
    describe(value) {
      const { version, tableIds } = decodeNote(value)
      return [`tables ${tableIds.join(', ')} are dropped after catalog version ${version}`]
    },
  },
  {
    prefix: metaKeys.setting('streaming/table/'),
    describe: (value) => describeTable(value),
  },
  {
    prefix: metaKeys.setting('streaming/ddl/'),
    describe(value, rest) {
      const timestamp = rest.slice(rest.lastIndexOf('/') + 1)
      const { version, entries } = decodeDdlBatch(value)
      return [
        `DDL of the commit at ${describeTimestamp(Number(timestamp))}, after catalog version ${version}`,
        ...entries.map(describeBytes),
      ]
    },
  },
]

/** @throws whatever the decoder of the key's kind throws */
export function describeMetaValue(key: string, value: Buffer): readonly string[] {
  const kind = kinds.find(({ prefix }) => key.startsWith(prefix))
  return kind === undefined
    ? [describeBytes(value)]
    : kind.describe(value, key.slice(kind.prefix.length))
}

/** SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>: nobody need see the keys. */
export function describePassword(value: Buffer): string {
  const [method = '', iterations = ''] = value.toString().split(/[$:]/)
  return `password verifier, ${shorten(method, 40)}, ${shorten(iterations, 20)} iterations`
}

function describeTable(value: Buffer): readonly string[] {
  const table = decodeTable(value)
  return [
    `table ${table.schemaName}.${table.name} (${table.tableId}), incarnation ${table.incarnation}, ` +
      `version ${table.version}, ${table.shardCount} shards`,
    ...table.columns.map(
      ({ attnum, name, typeName, typmod, kind, notNull }) =>
        `  column ${attnum} "${name}" ${typeName}${typmod === -1 ? '' : ` (typmod ${typmod})`} as ${kind}${notNull ? ', not null' : ''}`,
    ),
    ...table.keys.map(
      ({ name, indexOid, attnums, primary }) =>
        `  ${primary ? 'primary key' : 'unique key'} "${name}" (${indexOid}) on ${attnums.join(', ')}`,
    ),
    ...table.vectorIndexes.map(
      ({ indexOid, attnum, metric, m, efConstruction }) =>
        `  vector index ${indexOid} on ${attnum}, ${metric}, m ${m}, ef_construction ${efConstruction}`,
    ),
  ]
}
