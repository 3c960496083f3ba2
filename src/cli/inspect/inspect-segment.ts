/** A segment's rows or its deletes: what the file says of itself, then rows as any reader of Arrow files sees them. */
import { readFile } from 'node:fs/promises'
import { tableFromIPC } from 'apache-arrow'
import { formatTable, print } from '#cli/print.js'
import { describeSegmentFile } from '#engine/segment/inspect.js'

const cellWidthMax = 32

export async function inspectSegment(path: string, limit: number): Promise<void> {
  const content = await readFile(path)
  // Small files lie in a shared buffer anywhere; the reader wants to begin at a multiple of 8.
  const bytes = new Uint8Array(content)
  for (const line of describeSegmentFile(bytes)) print(line)
  print()
  const table = tableFromIPC(bytes)
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
  if (table.numRows > limit) print(`  … and ${table.numRows - limit} rows more (--limit)`)
}

function formatCell(value: unknown): string {
  const text =
    value instanceof Uint8Array
      ? `\\x${Buffer.from(value).toString('hex')}`
      : String(value ?? 'NULL')
  return text.length <= cellWidthMax ? text : `${text.slice(0, cellWidthMax - 1)}…`
}
