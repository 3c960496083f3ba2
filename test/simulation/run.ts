/** Runs seeds: node --import tsx --conditions=source test/simulation/run.ts --seeds 1000 --from 1 [--trace] */
import { type BugName, bugs } from './bugs.js'
import { simulate } from './simulate.js'

process.stdout.on('error', () => process.exit())
const given = new Map<string, string>()
for (let i = 2; i < process.argv.length; i += 1) {
  const [name = '', value = 'true'] = [process.argv[i], process.argv[i + 1]]
  if (!name.startsWith('--')) continue
  given.set(name.slice(2), value.startsWith('--') ? 'true' : value)
}
const from = Number(given.get('from') ?? 1)
const count = Number(given.get('seeds') ?? 1)
const isTraced = given.has('trace')

const bug = given.has('bug') ? bugs[given.get('bug') as BugName] : undefined

const totals = new Map<string, number>()
const startCpu = process.cpuUsage()
const print = (line: string): void => void process.stdout.write(`${line}\n`)
let failures = 0
for (let seed = from; seed < from + count; seed += 1) {
  const result = await simulate(seed, bug, isTraced ? print : undefined)
  for (const [what, times] of result.counts) totals.set(what, (totals.get(what) ?? 0) + times)
  totals.set('event', (totals.get('event') ?? 0) + result.eventCount)
  if (result.violation === undefined) continue
  failures += 1
  if (!isTraced) for (const line of result.tail.slice(-60)) print(line)
  print(`seed ${seed}: ${result.violation.stack ?? result.violation.message}`)
  if (failures >= Number(given.get('failures') ?? 1)) break
}
const { user, system } = process.cpuUsage(startCpu)
for (const [what, times] of [...totals].sort(([a], [b]) => (a < b ? -1 : 1)))
  print(`${String(times).padStart(9)} ${what}`)
print(
  `${count} seeds, ${failures} failed, ${((user + system) / 1e3 / count).toFixed(1)} ms CPU per seed`,
)
