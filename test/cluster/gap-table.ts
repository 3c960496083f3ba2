/** The gaps of a run as a table, a line for each victim: the worst and the usual of its kills. */
import type { Gap } from './run-kills.js'

export function gapTable(gaps: readonly Gap[]): string {
  const byVictims = new Map<string, Gap[]>()
  for (const gap of gaps) {
    const together = byVictims.get(gap.victims)
    if (together === undefined) byVictims.set(gap.victims, [gap])
    else together.push(gap)
  }
  const lines = [
    '| Killed | Times | Down, s | No read for, s | No write for, s | Read after it was back, s | Write after, s |',
    '|---|---|---|---|---|---|---|',
  ]
  for (const [victims, together] of byVictims) {
    const worst = (of: (gap: Gap) => number) => range(together.map(of))
    lines.push(
      `| ${victims} | ${together.length} | ${worst((gap) => gap.downMs)} | ${worst((gap) => gap.readMs)} | ` +
        `${worst((gap) => gap.writeMs)} | ${worst((gap) => gap.readAfterMs)} | ${worst((gap) => gap.writeAfterMs)} |`,
    )
  }
  return lines.join('\n')
}

function range(values: readonly number[]): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  const low = seconds(Math.min(...values))
  const high = seconds(Math.max(...values))
  return low === high ? low : `${low} to ${high}`
}
