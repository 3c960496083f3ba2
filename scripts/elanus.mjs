#!/usr/bin/env node
/** The command `elanus`: makes sure that everything is built, then runs dist/ in this process, so that signals reach the server. */
import { setUp } from './set-up.mjs'

try {
  await setUp()
} catch (error) {
  console.error(`\nelanus: ${error.message}`)
  process.exit(1)
}
followParent()
const { run } = await import('../dist/cli/run.js')
await run(process.argv.slice(2))

/**
 * npx runs us below a shell, and on SIGTERM ends only that shell: when it is gone, so should we. (`npm start` has no such
 * shell: its script begins with exec.)
 */
function followParent() {
  if (process.env.npm_command !== 'exec') return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    process.kill(process.pid, 'SIGTERM')
  }, 500)
  timer.unref()
}
