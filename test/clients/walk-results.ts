/** Runs a walk written in another language, and makes each of its checks a test of its own. */
import { spawn, spawnSync } from 'node:child_process'

export interface Finished {
  readonly code: number | null
  readonly output: string
}

export function hasCommand(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

export function runCommand(
  command: string,
  args: readonly string[],
  timeoutMs = 300_000,
): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs })
    let output = ''
    const take = (text: string): void => {
      output += text
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('error', (error) => resolve({ code: -1, output: `${output}${error.message}` }))
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** @throws Error with what went wrong in the check of this name */
export function mustHavePassed(
  results: ReadonlyMap<string, string | undefined>,
  name: string,
  output: string,
): void {
  if (!results.has(name))
    throw new Error(`the walk ended before this check:\n${output.slice(-2000)}`)
  const error = results.get(name)
  if (error !== undefined) throw new Error(error)
}
