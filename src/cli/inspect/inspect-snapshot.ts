/** The snapshot that embedded instances start from (src/postgres/snapshot-bundle.ts), by folder. */
import { readFile } from 'node:fs/promises'
import { formatTable } from '#cli/print.js'
import { decodeBundle, verifyBundle } from '#postgres/snapshot-bundle.js'
import { count } from './describe.js'
import type { InspectOptions } from './options.js'
import { orDamage, type Report } from './report.js'

export async function inspectSnapshot(
  path: string,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  const bytes = await readFile(path)
  report.line(`snapshot of the embedded PostgreSQL, ${count(bytes.length, 'byte')}`)
  const format = orDamage(report, 'snapshot', () => verifyBundle(bytes))
  if (format !== undefined) report.line(`  ${format}`)
  const files = orDamage(report, 'index', () => decodeBundle(bytes))
  if (files === undefined) return
  report.line(`  ${count(files.length, 'file or folder', 'files and folders')}`)
  const folders = new Map<string, { files: number; bytes: number }>()
  for (const { path: name, content } of files) {
    if (content === undefined) continue
    const folder = name.slice(0, name.lastIndexOf('/'))
    const sum = folders.get(folder) ?? { files: 0, bytes: 0 }
    folders.set(folder, { files: sum.files + 1, bytes: sum.bytes + content.length })
  }
  const rows = [...folders].map(([folder, sum]) => [
    folder,
    String(sum.files),
    sum.bytes.toLocaleString('en'),
  ])
  report.line(formatTable(['folder', 'files', 'bytes'], rows.slice(0, options.limit)))
  if (rows.length > options.limit)
    report.line(`… and ${count(rows.length - options.limit, 'folder')} more (--limit N)`)
}
