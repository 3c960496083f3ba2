/**
 * Runs seeds:
 *
 *   node --import tsx --conditions=source test/simulation/run.ts --seeds 1000 --from 1 [--jobs 2] [--failures 3]
 *   node --import tsx --conditions=source test/simulation/run.ts --from 42 --trace          one seed, told in full
 *   node --import tsx --conditions=source test/simulation/run.ts --seeds 50 --bug lease-forgotten
 *   node --import tsx --conditions=source test/simulation/run.ts --seeds 500 --shape upkeep        all of one shape
 *
 * Ends with 1 when an invariant did not hold, or when something that should happen in so many seeds never did.
 */
import { execFileSync, spawn } from 'node:child_process'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { type BugName, bugs } from './bugs.js'
import { Report } from './report.js'
import { type ShapeName, shapes } from './settings.js'
import { simulate } from './simulate.js'
import { noBug } from './world.js'

process.stdout.on('error', () => process.exit())
const given = new Map<string, string>()
for (let i = 2; i < process.argv.length; i += 1) {
  const [name = '', value = 'true'] = [process.argv[i], process.argv[i + 1]]
  if (!name.startsWith('--')) continue
  given.set(name.slice(2), value.startsWith('--') ? 'true' : value)
}
const from = Number(given.get('from') ?? 1)
const seeds = Number(given.get('seeds') ?? 1)
const jobs = Number(given.get('jobs') ?? 1)
const failuresMax = Number(given.get('failures') ?? 3)
const bug = given.has('bug') ? bugs[given.get('bug') as BugName] : undefined
const shape = given.has('shape') ? shapes[given.get('shape') as ShapeName] : undefined
const isTraced = given.has('trace')
const isPart = given.has('part')

const progressEvery = 500
const tailLines = 60

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function runHere(): Promise<Report> {
  const report = new Report()
  const started = process.cpuUsage()
  for (let seed = from; seed < from + seeds && report.failures < failuresMax; seed += 1) {
    const { violation, counts, tail, eventCount } = await simulate(
      seed,
      shape === undefined ? bug : { ...(bug ?? noBug), settings: shape },
      isTraced ? print : undefined,
    )
    report.seeds += 1
    report.add(counts)
    report.add([['event', eventCount]])
    const { user, system } = process.cpuUsage(started)
    report.cpuMs = (user + system) / 1000
    if (violation !== undefined) {
      report.failures += 1
      if (!isTraced) for (const line of tail.slice(-tailLines)) print(line)
      print(`seed ${seed} at ${commitName()}: ${violation.stack ?? violation.message}`)
    }
    if (report.seeds % progressEvery === 0) {
      print(
        `seed ${seed}: ${report.failures} failed, ${(report.cpuMs / report.seeds).toFixed(1)} ms CPU per seed`,
      )
    }
  }
  return report
}

/** A process per job, each with its part of the seeds. */
async function runInParts(): Promise<Report> {
  const report = new Report()
  const each = Math.ceil(seeds / jobs)
  const parts = Array.from({ length: jobs }, async (_, n) => {
    const range = [
      '--from',
      String(from + n * each),
      '--seeds',
      String(Math.min(each, seeds - n * each)),
    ]
    const more = ['bug', 'shape'].flatMap((name) =>
      given.has(name) ? [`--${name}`, String(given.get(name))] : [],
    )
    const args = [
      ...process.execArgv,
      String(process.argv[1]),
      ...range,
      ...more,
      '--failures',
      String(failuresMax),
      '--part',
    ]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.startsWith(partPrefix)) {
        print(line)
        continue
      }
      const { counts, ...sums } = JSON.parse(line.slice(partPrefix.length)) as PartReport
      report.merge(sums, counts)
    }
  })
  await Promise.all(parts)
  return report
}

interface PartReport {
  readonly seeds: number
  readonly failures: number
  readonly cpuMs: number
  readonly counts: readonly (readonly [string, number])[]
}
const partPrefix = '@@part '

function commitName(): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
}

const report = jobs > 1 ? await runInParts() : await runHere()
if (isPart) {
  const { seeds: done, failures, cpuMs, counts } = report
  print(`${partPrefix}${JSON.stringify({ seeds: done, failures, cpuMs, counts: [...counts] })}`)
} else {
  for (const line of report.lines()) print(line)
  const isFine =
    report.failures === 0 &&
    (bug !== undefined || shape !== undefined || report.missing.length === 0)
  process.exitCode = isFine ? 0 : 1
}
