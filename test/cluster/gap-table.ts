/** The gaps of a run as a table, a line for each kind of disturbance: the least and the most. */
import type { Gap } from './run-disturbances.js'

export function gapTable(gaps: readonly Gap[]): string {
  const byName = new Map<string, Gap[]>()
  for (const gap of gaps) {
    const together = byName.get(gap.name)
    if (together === undefined) byName.set(gap.name, [gap])
    else together.push(gap)
  }
  const lines = [
    '| What | Times | For, s | No read for, s | No write for, s | Read after its end, s | Write after, s |',
    '|---|---|---|---|---|---|---|',
  ]
  for (const [name, together] of byName) {
    const cells = [
      name,
      String(together.length),
      range(together.map((gap) => gap.lastedMs)),
      range(together.map((gap) => gap.readMs)),
      range(together.map((gap) => gap.writeMs)),
      range(together.map((gap) => gap.readAfterMs)),
      range(together.map((gap) => gap.writeAfterMs)),
    ]
    lines.push(`| ${cells.join(' | ')} |`)
  }
  return lines.join('\n')
}

function range(values: readonly number[]): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  const low = seconds(Math.min(...values))
  const high = seconds(Math.max(...values))
  return low === high ? low : `${low} to ${high}`
}
