/**
 * Disturbs a cluster under load: one thing after the other is begun, lasts for some seconds, is ended, and everybody must be served
 * again. What is measured of each: the longest time without a successful read, and write, from before it began until all is well.
 */
import { type Load, sleep } from './load.js'
import type { Probe } from './probe.js'
import type { Programs } from './programs.js'

export interface Disturbance {
  readonly name: string
  readonly steadyMs: number
  readonly lastsMs: number
  begin(): Promise<void>
  /** Resolves when everything runs and reaches everything. */
  end(): Promise<void>
}

export interface DisturbancesOptions {
  readonly programs: Programs
  readonly load: Load
  readonly disturbances: Iterable<Disturbance>
  /** No disturbance begins after it. */
  readonly minutes: number
  readonly onStep: (line: string) => void
}

export interface Gap {
  readonly name: string
  /** From its beginning until it has ended. */
  readonly lastedMs: number
  readonly readMs: number
  readonly writeMs: number
  /** After it has ended. */
  readonly readAfterMs: number
  readonly writeAfterMs: number
}

/** How long a read and a write may take to succeed again after everything is well: a bound against hanging. */
const backMsMax = 90_000
const stepsPerAudit = 5

/** @throws Error when something does not start, nobody is served again, or what is there cannot be read */
export async function runDisturbances(options: DisturbancesOptions): Promise<readonly Gap[]> {
  const { programs, load, onStep } = options
  const gaps: Gap[] = []
  const deadlineMs = performance.now() + options.minutes * 60_000
  await load.create()
  load.begin()
  gaps.push(await watchNothing(load))
  let count = 0
  for (const disturbance of options.disturbances) {
    if (performance.now() >= deadlineMs) break
    const gap = await disturb(disturbance, load)
    gaps.push(gap)
    onStep(describeGap(gap))
    count += 1
    if (count % stepsPerAudit !== 0) continue
    await load.pause()
    await load.audit()
    load.begin()
  }
  await sleep(2000)
  await load.pause()
  await load.audit('first')
  for (const line of programs.findDefects()) load.wrong.push(line)
  return gaps
}

async function watchNothing(load: Load): Promise<Gap> {
  const fromMs = performance.now()
  await sleep(5000)
  const [readMs, writeMs] = gapsOf(load, fromMs, performance.now())
  return { name: 'nothing', lastedMs: 0, readMs, writeMs, readAfterMs: 0, writeAfterMs: 0 }
}

async function disturb(disturbance: Disturbance, load: Load): Promise<Gap> {
  await sleep(disturbance.steadyMs)
  const begunMs = performance.now()
  await disturbance.begin()
  await sleep(disturbance.lastsMs)
  await disturbance.end()
  const backMs = performance.now()
  await untilBack(disturbance, [...load.readers, ...load.writers], backMs)
  const [readMs, writeMs] = gapsOf(load, begunMs, performance.now())
  return {
    name: disturbance.name,
    lastedMs: backMs - begunMs,
    readMs,
    writeMs,
    readAfterMs: slowest(load.readers, backMs),
    writeAfterMs: slowest(load.writers, backMs),
  }
}

async function untilBack(
  { name }: Disturbance,
  probes: readonly Probe[],
  sinceMs: number,
): Promise<void> {
  const isBack = (probe: Probe) => probe.backAfterMs(sinceMs) !== undefined
  while (!probes.every(isBack)) {
    if (performance.now() >= sinceMs + backMsMax) {
      const missing = probes
        .filter((probe) => !isBack(probe))
        .map((probe) => `${probe.name} (${[...probe.failures.keys()].slice(-3).join('; ')})`)
      throw new Error(`no success within ${backMsMax / 1000} s after ${name} had ended: ${missing}`)
    }
    await sleep(100)
  }
}

function gapsOf(load: Load, fromMs: number, toMs: number): readonly [number, number] {
  const longest = (probes: readonly Probe[]) =>
    Math.max(...probes.map((probe) => probe.gapMs(fromMs, toMs)))
  return [longest(load.readers), longest(load.writers)]
}

function slowest(probes: readonly Probe[], sinceMs: number): number {
  return Math.max(...probes.map((probe) => probe.backAfterMs(sinceMs) ?? Number.POSITIVE_INFINITY))
}

function describeGap(gap: Gap): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  return (
    `${gap.name}: for ${seconds(gap.lastedMs)} s, without a read ${seconds(gap.readMs)} s, without a write ` +
    `${seconds(gap.writeMs)} s; after its end ${seconds(gap.readAfterMs)} and ${seconds(gap.writeAfterMs)} s`
  )
}
