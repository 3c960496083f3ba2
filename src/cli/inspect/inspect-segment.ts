/** A segment's rows or its deletes: what the file says of itself, its columns with their statistics, the first rows. */
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { columnByteLength } from '#engine/columnar/batch.js'
import type { Column } from '#engine/columnar/column.js'
import { isValid } from '#engine/plan/filter-evaluate.js'
import { checksumOf } from '#engine/segment/checksum.js'
import { checkOffsets, openSealedFile, type StoredColumn } from '#engine/segment/sealed-file.js'
import { segmentFormatVersion } from '#engine/segment/write-sealed.js'
import { count } from './describe.js'
import { describeCell, describeRows, describeShape, type NamedColumn } from './describe-columns.js'
import type { InspectOptions } from './options.js'
import { orDamage, type Report } from './report.js'

export async function inspectSegment(
  path: string,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  // Small files lie in a shared buffer anywhere; columns want to begin at a multiple of 8.
  const bytes = new Uint8Array(await readFile(path))
  const checksum = checksumOf(bytes)
  report.line(`Arrow IPC file, ${count(bytes.length, 'byte')}, CRC-32 ${checksum}`)
  checkName(path, checksum, report)
  const file = orDamage(report, 'file', () => openSealedFile(bytes))
  if (file === undefined) return
  const facts = [...file.metadata].map(
    ([name, value]) => `${name.replace(/^elanus:/, '')} ${value}`,
  )
  report.line(`  ${facts.join(', ')}`)
  const version = Number(file.metadata.get('elanus:formatVersion'))
  if (version !== segmentFormatVersion) report.damage(`format version ${version} is not known`)
  report.line(`  ${count(file.rowCount, 'row')}`)
  const columns: NamedColumn[] = []
  for (const stored of file.columns) {
    const { name, typeName, column } = stored
    const isWhole = orDamage(report, `column ${name}`, () => {
      checkOffsets(column)
      return true
    })
    if (isWhole === undefined) continue
    const named = { name, typeName, column }
    columns.push(named)
    report.line(`  ${describeColumn(stored, named, bytes.byteOffset)}`)
  }
  for (const line of describeRows(columns, file.rowCount, options.rows)) report.line(line)
}

/** data-<crc>.arrow: the checksum is part of the name. */
export function checkName(path: string, checksum: string, report: Report): void {
  const named = /-([0-9a-f]{8})\.[a-z]+$/.exec(basename(path))?.[1]
  if (named === undefined || named === checksum) return
  report.damage(`the content has CRC-32 ${checksum}, the name says ${named}`)
}

function describeColumn(stored: StoredColumn, named: NamedColumn, start: number): string {
  const { name, sqlName, typeName, typmod, nullCount, column } = stored
  const type = typmod === -1 ? typeName : `${typeName} (typmod ${typmod})`
  const sql = sqlName === '' ? '' : ` "${sqlName}" ${type},`
  const bounds = describeBounds(named)
  return (
    `${name}${sql} ${describeShape(column)}, values at ${column.values.byteOffset - start}, ` +
    `${count(columnByteLength(column), 'byte')}, ${nullCount} NULL${bounds}`
  )
}

/** Least and greatest value, for kinds with one order. */
function describeBounds(named: NamedColumn): string {
  const { column } = named
  if (column.kind === 'bytes' || column.kind === 'vector' || column.kind === 'fixed') return ''
  let least: number | undefined
  let most: number | undefined
  for (let row = 0; row < column.length; row += 1) {
    if (!isValid(column, row)) continue
    if (least === undefined || compare(column, row, least) < 0) least = row
    if (most === undefined || compare(column, row, most) > 0) most = row
  }
  if (least === undefined || most === undefined) return ''
  return `, ${describeCell(named, least)} to ${describeCell(named, most)}`
}

type Ordered = Exclude<Column, { kind: 'bytes' | 'vector' | 'fixed' }>

function compare(column: Ordered, a: number, b: number): number {
  const left = column.values[a] ?? 0
  const right = column.values[b] ?? 0
  if (left < right) return -1
  if (left > right) return 1
  // NaN is PostgreSQL's greatest float.
  return Number(Number.isNaN(left)) - Number(Number.isNaN(right))
}
