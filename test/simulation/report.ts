/** What a batch of seeds did, summed up; and what it should have done and did not. */

/** Over a batch of this size each of them must have happened, or the simulation does not simulate what it says. */
const coveredFromSeeds = 300

const mustHappen: readonly string[] = [
  'aborted 23503',
  'aborted 23505',
  'aborted 40001',
  'aborted 42P01',
  'asked a deposed leader',
  'asked a deposed owner',
  'checkpoint',
  'clock stepped',
  'column added',
  'commit',
  'commit over several log channels',
  'commit without answer',
  'compact',
  'compact now',
  'coordinator killed',
  'did copyIn',
  'did truncate',
  'filtered search checked',
  'flush',
  'index recorded',
  'leader elected',
  'log channel taken',
  'log truncated',
  'message doubled',
  'message lost',
  'meta done-unknown',
  'meta lost',
  'object deleted',
  'objects done-unknown',
  'objects lost',
  'owners restarted',
  'partition',
  'proxy killed',
  'query killed',
  'reindex',
  'search checked',
  'segments merged or dropped',
  'server killed',
  'snapshot judged',
  'snapshot of the past',
  'snapshot read again',
  'statement cancelled',
  'streaming node failed',
  'table dropped',
  'wal away',
  'wal done-unknown',
  'wal lost',
  'worker killed',
]

export class Report {
  seeds = 0
  failures = 0
  cpuMs = 0
  readonly counts = new Map<string, number>()

  add(counts: Iterable<readonly [string, number]>): void {
    for (const [what, times] of counts) this.counts.set(what, (this.counts.get(what) ?? 0) + times)
  }

  merge(
    other: Pick<Report, 'seeds' | 'failures' | 'cpuMs'>,
    counts: readonly (readonly [string, number])[],
  ): void {
    this.seeds += other.seeds
    this.failures += other.failures
    this.cpuMs += other.cpuMs
    this.add(counts)
  }

  /** What never happened, of what must. */
  get missing(): readonly string[] {
    return this.seeds < coveredFromSeeds ? [] : mustHappen.filter((what) => !this.counts.has(what))
  }

  lines(): readonly string[] {
    const sorted = [...this.counts].sort(([a], [b]) => (a < b ? -1 : 1))
    const perSecond = this.seeds / (this.cpuMs / 1000)
    return [
      ...sorted.map(([what, times]) => `${String(times).padStart(10)} ${what}`),
      ...this.missing.map((what) => `     never ${what}`),
      `${this.seeds} seeds, ${this.failures} failed, ${(this.cpuMs / 1000).toFixed(0)} s CPU, ${perSecond.toFixed(1)} seeds per CPU-second`,
    ]
  }
}
