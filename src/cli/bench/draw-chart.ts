/** Line charts as SVG: panels side by side, a logarithmic vertical axis that they share, one legend. */
export interface Point {
  readonly x: number
  readonly y: number
  readonly label: string
}

export interface Series {
  readonly name: string
  /** Position in the palette: the same server has the same colour in every picture. */
  readonly color: number
  readonly dashed: boolean
  readonly points: readonly Point[]
}

export interface Axis {
  readonly label: string
  readonly kind: 'linear' | 'logarithmic'
  /** Value at the left; may be the larger one. */
  readonly from: number
  readonly to: number
  readonly ticks: readonly number[]
  readonly format: (value: number) => string
}

export interface Chart {
  readonly title: string
  readonly x: Axis
  readonly yLabel: string
  readonly series: readonly Series[]
}

const palette = ['#c2410c', '#336791', '#15803d', '#7e22ce', '#a16207']
const panelWidth = 520
const panelHeight = 360
const margin = { left: 72, right: 28, top: 84, bottom: 96 }
const ink = '#1f2937'
const faint = '#e5e7eb'
const grey = '#6b7280'

/** @returns an SVG document */
export function drawCharts(subtitle: string, charts: readonly Chart[]): string {
  const cell = margin.left + panelWidth + margin.right
  const width = Math.max(1, charts.length) * cell
  const height = margin.top + panelHeight + margin.bottom
  const values = charts.flatMap(({ series }) =>
    series.flatMap(({ points }) => points.map(({ y }) => y)),
  )
  const yRange = decades(values)
  const panels = charts.map((chart, i) => drawPanel(chart, i * cell + margin.left, yRange))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${ink}">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="${margin.left}" y="26" font-size="12" fill="${grey}">${escapeXml(subtitle)}</text>`,
    ...panels,
    drawLegend(charts[0]?.series ?? [], height - 22),
    '</svg>',
    '',
  ].join('\n')
}

interface Range {
  readonly min: number
  readonly max: number
}

/** 1, 2, 5, 10 … around the values: a whole decade is often too coarse. */
function decades(values: readonly number[]): Range {
  const positive = values.filter((value) => value > 0)
  if (positive.length === 0) return { min: 1, max: 10 }
  const marks = logarithmicTicks({
    min: Math.min(...positive) / 10,
    max: Math.max(...positive) * 10,
  })
  const min = marks.filter((mark) => mark <= Math.min(...positive)).at(-1) ?? 1
  const max = marks.find((mark) => mark >= Math.max(...positive)) ?? 10
  return { min, max: max === min ? min * 10 : max }
}

function logarithmicTicks({ min, max }: Range): readonly number[] {
  const ticks: number[] = []
  for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++) {
    for (const digit of [1, 2, 5]) {
      const tick = Number((digit * 10 ** power).toPrecision(1))
      if (tick >= min && tick <= max) ticks.push(tick)
    }
  }
  return ticks
}

function drawPanel(chart: Chart, left: number, yRange: Range): string {
  const bottom = margin.top + panelHeight
  const xOf = (value: number) => left + panelWidth * shareOn(chart.x, value)
  const yShare = (value: number) => Math.log(value / yRange.min) / Math.log(yRange.max / yRange.min)
  const yOf = (value: number) => bottom - panelHeight * yShare(value)
  const parts = [
    `<text x="${left}" y="${margin.top - 16}" font-size="15" font-weight="600">${escapeXml(chart.title)}</text>`,
  ]
  for (const tick of logarithmicTicks(yRange)) {
    const y = round(yOf(tick))
    parts.push(
      `<line x1="${left}" x2="${left + panelWidth}" y1="${y}" y2="${y}" stroke="${faint}"/>`,
    )
    parts.push(
      `<text x="${left - 8}" y="${y + 4}" text-anchor="end" fill="${grey}">${tick.toLocaleString('en')}</text>`,
    )
  }
  for (const tick of chart.x.ticks) {
    const x = round(xOf(tick))
    parts.push(`<line x1="${x}" x2="${x}" y1="${margin.top}" y2="${bottom}" stroke="${faint}"/>`)
    parts.push(
      `<text x="${x}" y="${bottom + 18}" text-anchor="middle" fill="${grey}">${escapeXml(chart.x.format(tick))}</text>`,
    )
  }
  parts.push(
    `<line x1="${left}" x2="${left + panelWidth}" y1="${bottom}" y2="${bottom}" stroke="${grey}"/>`,
  )
  parts.push(
    `<text x="${left + panelWidth / 2}" y="${bottom + 40}" text-anchor="middle">${escapeXml(chart.x.label)}</text>`,
  )
  const middle = margin.top + panelHeight / 2
  parts.push(
    `<text transform="translate(${left - 56} ${middle}) rotate(-90)" text-anchor="middle">${escapeXml(chart.yLabel)}</text>`,
  )
  for (const series of chart.series) parts.push(drawSeries(series, xOf, yOf))
  return parts.join('\n')
}

function shareOn({ kind, from, to }: Axis, value: number): number {
  if (from === to) return 0.5
  if (kind === 'linear') return (value - from) / (to - from)
  return Math.log(value / from) / Math.log(to / from)
}

function drawSeries(
  series: Series,
  xOf: (value: number) => number,
  yOf: (value: number) => number,
): string {
  const color = palette[series.color % palette.length] ?? ink
  const placed = series.points
    .filter(({ y }) => y > 0)
    .map((point) => ({ x: round(xOf(point.x)), y: round(yOf(point.y)), label: point.label }))
  const dashes = series.dashed ? ' stroke-dasharray="6 4"' : ''
  const line = placed.map(({ x, y }) => `${x},${y}`).join(' ')
  return [
    `<polyline points="${line}" fill="none" stroke="${color}" stroke-width="2"${dashes}/>`,
    ...placed.map(
      ({ x, y }) =>
        `<circle cx="${x}" cy="${y}" r="3.5" fill="white" stroke="${color}" stroke-width="2"/>`,
    ),
    ...placed.map(({ x, y, label }) => {
      // White behind the letters, because lines cross them; drawn apart, as not every viewer knows paint-order.
      const text = `x="${x + 7}" y="${y - 7}" font-size="10.5"`
      const halo = `<text ${text} stroke="white" stroke-width="3" fill="white">${escapeXml(label)}</text>`
      return `${halo}<text ${text} fill="${color}">${escapeXml(label)}</text>`
    }),
  ].join('\n')
}

function drawLegend(series: readonly Series[], y: number): string {
  let x = margin.left
  const parts: string[] = []
  for (const { name, color, dashed } of series) {
    const stroke = palette[color % palette.length] ?? ink
    const dashes = dashed ? ' stroke-dasharray="6 4"' : ''
    parts.push(
      `<line x1="${x}" x2="${x + 26}" y1="${y - 4}" y2="${y - 4}" stroke="${stroke}" stroke-width="2"${dashes}/>`,
    )
    parts.push(`<text x="${x + 33}" y="${y}" font-size="13">${escapeXml(name)}</text>`)
    x += 33 + name.length * 7.5 + 28
  }
  return parts.join('\n')
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
