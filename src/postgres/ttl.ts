/** The storage option ttl: how long rows live. Whole units of fixed length, so that every node counts alike. */
import { DatabaseError, SqlState } from '#base/errors.js'

const unitMs: Readonly<Record<string, number>> = {
  s: 1000,
  sec: 1000,
  second: 1000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
}
/** 10,000 years. */
const ttlMsMax = 3_652_500 * 86_400_000

/** '1 day', '36 hours', '1 week 12 h'. @throws 22023 */
export function parseTtl(text: string): number {
  const parts = [...text.matchAll(/\s*(\d+)\s*([a-z]+)/gi)]
  const isWhole = parts.map(([part]) => part).join('') === text.trimEnd()
  let milliseconds = 0
  for (const [, digits = '', unit = ''] of parts) {
    const name = unit.toLowerCase()
    milliseconds += Number(digits) * (unitMs[name] ?? unitMs[name.replace(/s$/, '')] ?? Number.NaN)
  }
  if (isWhole && milliseconds >= 1000 && milliseconds <= ttlMsMax) return milliseconds
  throw new DatabaseError(
    SqlState.invalidParameterValue,
    `invalid value for option "ttl": "${text}"`,
    { hint: "Give at least a second, in seconds, minutes, hours, days or weeks: '90 days'." },
  )
}
