/** The two pictures of a run: recall against throughput, and throughput against what a condition keeps. */
import { type Chart, drawCharts, type Series } from '#cli/bench/draw-chart.js'
import type { BenchFigures, SearchFigures } from '#cli/bench/figures.js'

/** One panel per number of connections; a point per ef_search. Up and to the right is better. */
export function drawRecall(figures: BenchFigures, names: readonly string[]): string {
  const unfiltered = figures.searches.filter(({ share }) => share === 1)
  const recallMin = Math.min(0.9, ...unfiltered.map(({ recall }) => recall))
  const from = Math.floor(recallMin * 20) / 20
  const charts = distinct(unfiltered.map(({ connections }) => connections)).map(
    (connections): Chart => ({
      title: connections === 1 ? '1 connection' : `${connections} connections`,
      x: {
        label: `recall@${figures.k}`,
        kind: 'linear',
        from,
        to: 1,
        ticks: steps(from, 1, 0.05),
        format: (value) => value.toFixed(2),
      },
      yLabel: 'queries per second',
      series: names.map((name, color): Series => {
        const points = unfiltered.filter(
          (one) => one.target === name && one.connections === connections,
        )
        return {
          name,
          color,
          dashed: false,
          points: points.map((one) => ({
            x: one.recall,
            y: one.queriesPerSecond,
            label: `ef ${one.efSearch}`,
          })),
        }
      }),
    }),
  )
  return drawCharts(subtitle(figures), charts)
}

/** One panel per number of connections; a line per server and ef_search, each point labelled with its recall. */
export function drawFilters(figures: BenchFigures, names: readonly string[]): string {
  const filtered = figures.searches.filter(({ share }) => share < 1)
  const shares = distinct(filtered.map(({ share }) => share))
  const widths = distinct(filtered.map(({ efSearch }) => efSearch))
  const charts = distinct(filtered.map(({ connections }) => connections)).map(
    (connections): Chart => ({
      title: connections === 1 ? '1 connection' : `${connections} connections`,
      x: {
        label: 'share of rows that the condition keeps',
        kind: 'logarithmic',
        from: Math.max(...shares),
        to: Math.min(...shares),
        ticks: shares,
        format: (value) => `${Number((value * 100).toPrecision(3))} %`,
      },
      yLabel: 'queries per second',
      series: names.flatMap((name, color) =>
        widths.map((efSearch, i): Series => {
          const isOurs = (one: SearchFigures) =>
            one.target === name && one.connections === connections && one.efSearch === efSearch
          return {
            name: `${name}, ef ${efSearch}`,
            color,
            dashed: i > 0,
            points: filtered
              .filter(isOurs)
              .sort((a, b) => b.share - a.share)
              .map((one) => ({
                x: one.share,
                y: one.queriesPerSecond,
                label: one.recall.toFixed(3),
              })),
          }
        }),
      ),
    }),
  )
  return drawCharts(`${subtitle(figures)} · labels: recall@${figures.k}`, charts)
}

function subtitle(figures: BenchFigures): string {
  return (
    `${figures.rowCount.toLocaleString('en')} word vectors × ${figures.dimensions}, cosine, hnsw m ${figures.m}, ` +
    `ef_construction ${figures.efConstruction} · ${figures.machine}`
  )
}

function distinct(values: readonly number[]): readonly number[] {
  return [...new Set(values)]
}

function steps(from: number, to: number, step: number): readonly number[] {
  return Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => from + i * step)
}
