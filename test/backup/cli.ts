/** The command line of the build in dist/, as a person runs it. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface CliRun {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export async function elanus(...args: readonly string[]): Promise<CliRun> {
  const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), ...args], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (text: Buffer) => {
    stdout += text.toString()
  })
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString()
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, stdout, stderr }
}

/** @throws Error with what it wrote, unless it ends well */
export async function elanusDone(...args: readonly string[]): Promise<string> {
  const run = await elanus(...args)
  if (run.code !== 0) throw new Error(`elanus ${args.join(' ')}: ${run.stdout}${run.stderr}`)
  return run.stdout
}
