/**
 * Kills nodes and services of a cluster (SIGKILL) one after the other and in pairs, under load, and starts them again after some
 * seconds. What is measured of each: the longest time without a successful read, and write, from before the kill until it is over.
 */
import { systemRuntime } from '#base/system-runtime.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { openEtcdMeta } from '#storage/meta/etcd/etcd-meta.js'
import { randomFrom } from '../differential/random.js'
import { type Load, sleep } from './load.js'
import type { Probe } from './probe.js'
import type { Programs } from './programs.js'
import { type Step, schedule } from './schedule.js'

export interface KillsOptions {
  readonly programs: Programs
  readonly minutes: number
  readonly seed: number
  readonly victims: readonly (readonly string[])[]
  readonly load: Load
  readonly onStep: (line: string) => void
}

export interface Gap {
  readonly victims: string
  /** From the kill until all that was killed runs again. */
  readonly downMs: number
  readonly readMs: number
  readonly writeMs: number
  /** After all that was killed runs again. */
  readonly readAfterMs: number
  readonly writeAfterMs: number
}

/** How long a read and a write may take to succeed again after everything is back: a bound against hanging. */
const backMsMax = 60_000
const stepsPerAudit = 5

/** @throws Error when something does not start, or what is there cannot be read */
export async function runKills(options: KillsOptions): Promise<readonly Gap[]> {
  const { programs, load } = options
  const gaps: Gap[] = []
  const deadlineMs = performance.now() + options.minutes * 60_000
  await load.create()
  load.begin()
  gaps.push(await watchNobody(load))
  let count = 0
  for (const step of schedule(randomFrom(options.seed), options.victims)) {
    if (performance.now() >= deadlineMs) break
    const gap = await kill(step, options)
    gaps.push(gap)
    options.onStep(describeGap(gap))
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

async function watchNobody(load: Load): Promise<Gap> {
  const fromMs = performance.now()
  await sleep(5000)
  const [readMs, writeMs] = gapsOf(load, fromMs, performance.now())
  return { victims: 'nobody', downMs: 0, readMs, writeMs, readAfterMs: 0, writeAfterMs: 0 }
}

async function kill(step: Step, { programs, load }: KillsOptions): Promise<Gap> {
  await sleep(step.steadyMs)
  const victims = await nameCoordinators(step.victims, programs)
  const killedMs = performance.now()
  await programs.kill(victims)
  await sleep(step.downMs)
  await programs.restart(victims)
  const backMs = performance.now()
  await untilBack([...load.readers, ...load.writers], backMs)
  const [readMs, writeMs] = gapsOf(load, killedMs, performance.now())
  return {
    victims: step.victims.join(' + '),
    downMs: backMs - killedMs,
    readMs,
    writeMs,
    readAfterMs: slowest(load.readers, backMs),
    writeAfterMs: slowest(load.writers, backMs),
  }
}

/** The address under `coordinator/leader` in the meta store says which one leads. */
async function nameCoordinators(
  victims: readonly string[],
  programs: Programs,
): Promise<readonly string[]> {
  if (!victims.some((name) => name === 'leader' || name === 'follower')) return victims
  const meta = openEtcdMeta({ endpoints: [programs.etcd], prefix: 'elanus' }, systemRuntime)
  try {
    const found = await meta.get(metaKeys.leader)
    const leads = programs.coordinatorAt(new TextDecoder().decode(found?.value))
    const other = leads === 'coordinator-1' ? 'coordinator-2' : 'coordinator-1'
    return victims.map((name) => ({ leader: leads, follower: other })[name] ?? name)
  } finally {
    await meta.close()
  }
}

async function untilBack(probes: readonly Probe[], sinceMs: number): Promise<void> {
  while (performance.now() < sinceMs + backMsMax) {
    if (probes.every((probe) => probe.backAfterMs(sinceMs) !== undefined)) return
    await sleep(100)
  }
  throw new Error(
    `no success within ${backMsMax / 1000} s after everything was back: ${probes
      .filter((probe) => probe.backAfterMs(sinceMs) === undefined)
      .map(({ name, failures }) => `${name} (${[...failures.keys()].slice(-3).join('; ')})`)}`,
  )
}

function gapsOf(load: Load, fromMs: number, toMs: number): readonly [number, number] {
  const longest = (probes: readonly Probe[]) =>
    Math.max(...probes.map((probe) => probe.gapMs(fromMs, toMs)))
  return [longest(load.readers), longest(load.writers)]
}

function slowest(probes: readonly Probe[], sinceMs: number): number {
  return Math.max(...probes.map((probe) => probe.backAfterMs(sinceMs) ?? Number.POSITIVE_INFINITY))
}

export function describeGap(gap: Gap): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  return (
    `${gap.victims}: down ${seconds(gap.downMs)} s, without a read ${seconds(gap.readMs)} s, without a write ` +
    `${seconds(gap.writeMs)} s; after it was back ${seconds(gap.readAfterMs)} and ${seconds(gap.writeAfterMs)} s`
  )
}
