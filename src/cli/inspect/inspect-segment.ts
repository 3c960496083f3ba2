/** A segment's rows or its deletes, as any reader of Arrow files sees them. */
import { readFile } from 'node:fs/promises'
import { tableFromIPC } from 'apache-arrow'
import { formatTable, print } from '#cli/print.js'

const cellWidthMax = 32

export async function inspectSegment(path: string, limit: number): Promise<void> {
  const table = tableFromIPC(await readFile(path))
  print(`Arrow file, ${table.numRows.toLocaleString('en')} rows`)
  for (const [key, value] of table.schema.metadata) print(`  ${key} = ${value}`)
  print()
  const fields = table.schema.fields.map(({ name, type, metadata }, i) => [
    name,
    metadata.get('elanus:name') ?? '',
    metadata.get('elanus:type') ?? '',
    String(type),
    String(table.getChildAt(i)?.nullCount ?? 0),
  ])
  print(formatTable(['field', 'column', 'type', 'Arrow type', 'NULL'], fields))
  print()
  const rows: string[][] = []
  for (let row = 0; row < Math.min(limit, table.numRows); row++) {
    rows.push(table.schema.fields.map((_, i) => formatCell(table.getChildAt(i)?.get(row))))
  }
  print(
    formatTable(
      table.schema.fields.map(({ name }) => name),
      rows,
    ),
  )
}

function formatCell(value: unknown): string {
  const text =
    value instanceof Uint8Array
      ? `\\x${Buffer.from(value).toString('hex')}`
      : String(value ?? 'NULL')
  return text.length <= cellWidthMax ? text : `${text.slice(0, cellWidthMax - 1)}…`
}
