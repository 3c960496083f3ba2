/** What the command line writes for people: lines, and a bar that redraws itself on a terminal. */
import { performance } from 'node:perf_hooks'

export function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

const barWidth = 28
const redrawIntervalMs = 100
/** Without a terminal a line now and then: a log must not fill. */
const lineIntervalMs = 10_000

/** A bar for one piece of work whose size is known. Must be finished or failed, once. */
export class ProgressBar {
  readonly #label: string
  readonly #unit: string
  readonly #startedMs = performance.now()
  #total: number
  #drawnMs = performance.now()
  #done = 0

  constructor(label: string, total: number, unit: string) {
    this.#label = label
    this.#total = total
    this.#unit = unit
  }

  /** @param note instead of the rate, such as the phase of an index build */
  update(done: number, total = this.#total, note = ''): void {
    this.#done = done
    this.#total = total
    const nowMs = performance.now()
    const intervalMs = process.stdout.isTTY ? redrawIntervalMs : lineIntervalMs
    if (nowMs - this.#drawnMs < intervalMs) return
    this.#drawnMs = nowMs
    this.#draw(note === '' ? this.#rate(nowMs) : note, false)
  }

  /** @returns seconds since the start */
  finish(note = ''): number {
    const nowMs = performance.now()
    const seconds = (nowMs - this.#startedMs) / 1000
    this.#done = this.#total
    const rate = this.#unit === '' ? '' : `, ${this.#rate(nowMs)}`
    this.#draw(note === '' ? `${seconds.toFixed(1)} s${rate}` : note, true)
    return seconds
  }

  #rate(nowMs: number): string {
    const perSecond = this.#done / Math.max(0.001, (nowMs - this.#startedMs) / 1000)
    return `${Math.round(perSecond).toLocaleString('en')} ${this.#unit}/s`
  }

  #draw(note: string, last: boolean): void {
    const share = this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total)
    const filled = Math.round(share * barWidth)
    const bar = `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`
    const percent = `${Math.floor(share * 100)}%`.padStart(4)
    const line = `${this.#label.padEnd(22)} ${bar} ${percent}  ${note}`
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[2K${line}${last ? '\n' : ''}`)
    else print(line)
  }
}

/** Columns aligned under their heads; numbers to the right. */
export function formatTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const isNumber = heads.map((_, column) =>
    rows.every((row) => /^[-–\d.,% ]*$/.test(row[column] ?? '')),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return isNumber[column] ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return [line(heads), ...rows.map(line)].map((one) => `  ${one}`).join('\n')
}
