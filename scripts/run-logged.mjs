/** Runs a program of the set-up with one line on the terminal; its output goes to .cache/set-up.log and is shown when it fails. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const linesShown = 60

/**
 * @param {string} what a noun for the terminal, such as "native add-on"
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv, mayFail?: boolean }} options
 * @returns {Promise<boolean>} false when it failed and may
 */
export async function runLogged(what, command, args, options) {
  const folder = join(options.cwd, '.cache')
  mkdirSync(folder, { recursive: true })
  const logPath = join(folder, 'set-up.log')
  const log = openSync(logPath, 'w')
  const startedMs = Date.now()
  process.stderr.write(`elanus set-up: ${what} … `)
  const code = await exitCode(command, args, { ...options, stdio: ['ignore', log, log] })
  closeSync(log)
  process.stderr.write(
    code === 0 ? `${((Date.now() - startedMs) / 1000).toFixed(1)} s\n` : 'failed\n',
  )
  if (code === 0) return true
  if (options.mayFail) return false
  const tail = readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-linesShown).join('\n')
  throw new Error(
    `${tail}\n\n${what}: \`${command} ${args.join(' ')}\` failed (${code}); the output above is in .cache/set-up.log`,
  )
}

function exitCode(command, args, { cwd, env, stdio }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: env ?? process.env, stdio })
    child.on('error', (error) => resolve(error.message))
    child.on('exit', (code, signal) => resolve(code ?? signal))
  })
}
