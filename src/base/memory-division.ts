/**
 * What a process may take of the machine's memory, and which part of it has how much. Pure.
 *
 *   fixed     the process itself, and so much for each embedded PostgreSQL
 *   sealed    half of the rest: sealed segments and indexes in memory; colder ones leave
 *   growing   35 % of the rest: rows that are not in objects yet, of open COPYs too. From two thirds on writes wait, at the end
 *             they are refused (53200)
 *   results   15 % of the rest: what is on its way to and from clients
 */
const mebibyte = 1024 * 1024

/** Resident after the start without an embedded PostgreSQL, with room for the heap of JavaScript. */
const processBytes = 128 * mebibyte
/** An embedded PostgreSQL at work: about 92 MB when it has started, more with every statement it prepares. */
const postgresBytes = 128 * mebibyte
/** Below, growing segments would be sealed so small that nothing works well. */
const restBytesMin = 128 * mebibyte

export interface MemoryDivision {
  readonly totalBytes: number
  readonly fixedBytes: number
  readonly sealedBytes: number
  readonly growingBytes: number
  readonly resultBytes: number
}

/** @param postgresCount embedded instances: catalog, evaluators, and the spare */
export function divideMemory(totalBytes: number, postgresCount: number): MemoryDivision {
  const fixedBytes = processBytes + postgresCount * postgresBytes
  const rest = Math.max(totalBytes - fixedBytes, restBytesMin)
  const sealedBytes = Math.floor(rest * 0.5)
  const growingBytes = Math.floor(rest * 0.35)
  return {
    totalBytes,
    fixedBytes,
    sealedBytes,
    growingBytes,
    resultBytes: rest - sealedBytes - growingBytes,
  }
}

export function leastMemory(postgresCount: number): number {
  return processBytes + postgresCount * postgresBytes + restBytesMin
}

/** Half of the machine, or of what the container may have. @param constrainedBytes of the container; 0 or more than the machine: none */
export function defaultMemory(machineBytes: number, constrainedBytes: number): number {
  const isConstrained = constrainedBytes > 0 && constrainedBytes < machineBytes
  return Math.floor((isConstrained ? constrainedBytes : machineBytes) / 2)
}
