/** What the system says of a process: the machine may be loaded with other things, which wall time counts and CPU time does not. */
import { readFileSync } from 'node:fs'

/** CLK_TCK on every Linux that Node runs on. */
const ticksPerSecond = 100

/** User and system time of all its threads, in seconds; 0 when it is gone. */
export function cpuSeconds(pid: number): number {
  const stat = read(`/proc/${pid}/stat`)
  // The name in parentheses may have spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond
}

/** Resident memory in MB. */
export function residentMb(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))
  return Math.round(Number(found?.[1] ?? 0) / 1024)
}

/** Processes that wait for a processor, on average over a minute. */
export function machineLoad(): string {
  return read('/proc/loadavg').split(' ')[0] ?? ''
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
