#!/usr/bin/env node
/** The command `elanus`: makes sure that everything is built, then runs dist/ in this process, so that signals reach the server. */
import { setUp } from './set-up.mjs'

try {
  await setUp()
} catch (error) {
  console.error(`\nelanus: ${error.message}`)
  process.exit(1)
}
const { run } = await import('../dist/cli/run.js')
await run(process.argv.slice(2))
