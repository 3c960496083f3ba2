/** The results of a run as files: figures.json, report.md, and the pictures the report shows. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { atRecall } from '#cli/bench/at-recall.js'
import { drawFilters, drawRecall } from '#cli/bench/draw-figures.js'
import type { BenchFigures, SearchFigures, Target } from '#cli/bench/figures.js'
import { print } from '#cli/print.js'

const comparedRecall = 0.95

/** Writes into a folder named after the start of the run. */
export async function writeReport(
  figures: BenchFigures,
  targets: readonly Target[],
  outFolder: string,
): Promise<void> {
  const folder = join(outFolder, figures.startedAt.replace(/[:.]/g, '-'))
  await mkdir(folder, { recursive: true })
  const names = targets.map(({ name }) => name)
  const report = formatReport(figures, names)
  await writeFile(join(folder, 'figures.json'), `${JSON.stringify(figures, undefined, 2)}\n`)
  await writeFile(join(folder, 'report.md'), report)
  await writeFile(join(folder, 'recall.svg'), drawRecall(figures, names))
  if (figures.searches.some(({ share }) => share < 1)) {
    await writeFile(join(folder, 'filters.svg'), drawFilters(figures, names))
  }
  print(`\n${report}\nWritten to ${folder}: report.md, figures.json, recall.svg, filters.svg`)
}

function formatReport(figures: BenchFigures, names: readonly string[]): string {
  const parts = [
    `# ${names.join(', ')}`,
    [
      `${figures.rowCount.toLocaleString('en')} word vectors × ${figures.dimensions}, cosine, `,
      `hnsw m ${figures.m}, ef_construction ${figures.efConstruction}, recall@${figures.k}. ${figures.startedAt}. ${figures.machine}.`,
    ].join(''),
    Object.entries(figures.versions)
      .map(([name, version]) => `- ${name}: ${version}`)
      .join('\n'),
  ]
  if (figures.loads.length > 0) parts.push('## Loading', formatLoads(figures))
  if (figures.searches.length > 0) {
    parts.push(`## At recall ${comparedRecall}, no condition`, formatAtRecall(figures, names))
    parts.push('## Searches', '![recall against throughput](recall.svg)', formatSearches(figures))
  }
  return `${parts.join('\n\n')}\n`
}

function formatLoads({ loads }: BenchFigures): string {
  const rate = (value: number | undefined) =>
    value === undefined ? '–' : Math.round(value).toLocaleString('en')
  return markdownTable(
    ['server', 'COPY binary, rows/s', 'COPY text, rows/s', 'index build, s'],
    loads.map((one) => [
      one.target,
      rate(one.copyBinaryRowsPerSecond),
      rate(one.copyTextRowsPerSecond),
      one.indexSeconds.toFixed(1),
    ]),
  )
}

function formatAtRecall({ searches }: BenchFigures, names: readonly string[]): string {
  const baseline = names.at(-1) ?? ''
  const unfiltered = searches.filter(({ share }) => share === 1)
  const rows: string[][] = []
  for (const connections of new Set(unfiltered.map((one) => one.connections))) {
    const pointsOf = (name: string) =>
      unfiltered.filter((one) => one.target === name && one.connections === connections)
    const reference = atRecall(pointsOf(baseline), comparedRecall)
    for (const name of names) {
      const reached = atRecall(pointsOf(name), comparedRecall)
      const ratio =
        reached === undefined || reference === undefined
          ? '–'
          : `${(reached.queriesPerSecond / reference.queriesPerSecond).toFixed(2)} ×`
      rows.push([
        String(connections),
        name,
        reached?.queriesPerSecond.toFixed(0) ?? '–',
        reached?.p50Ms.toFixed(2) ?? '–',
        reached?.p99Ms.toFixed(2) ?? '–',
        ratio,
      ])
    }
  }
  return markdownTable(['connections', 'server', 'q/s', 'p50 ms', 'p99 ms', `of ${baseline}`], rows)
}

function formatSearches({ searches }: BenchFigures): string {
  return markdownTable(
    [
      'condition',
      'connections',
      'ef_search',
      'server',
      'recall',
      'q/s',
      'p50 ms',
      'p99 ms',
      'fewest rows',
      'queries',
    ],
    searches.map(searchRow),
  )
}

function searchRow(one: SearchFigures): readonly string[] {
  return [
    one.condition,
    String(one.connections),
    String(one.efSearch),
    one.target,
    one.recall.toFixed(4),
    one.queriesPerSecond.toFixed(0),
    one.p50Ms.toFixed(2),
    one.p99Ms.toFixed(2),
    String(one.fewestRows),
    String(one.queriesAnswered),
  ]
}

function markdownTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n')
}
