/**
 * `npm test`: set-up, checks, then every suite: the tests beside the code, and each folder of test/.
 * `npm test -- clients crash` runs the named suites only. The last line sums up: N passed, N failed, N skipped.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { check } from './check.mjs'
import { root, setUp } from './set-up.mjs'

const wanted = process.argv.slice(2)
const results = []

try {
  await setUp()
} catch (error) {
  console.error(`\nelanus: ${error.message}`)
  process.exit(1)
}
if (wanted.length === 0 || wanted.includes('check')) {
  results.push({ name: 'check', skipped: 0, skips: [], ...(await check()) })
}
for (const { name, folder } of suites()) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  console.log(`\n=== ${name}`)
  results.push({ name, ...(await runSuite(name, folder)) })
}
report()

/** Tests that start servers have a folder of their own under test/; they run one suite after the other. */
function suites() {
  const found = [{ name: 'unit', folder: 'src' }]
  for (const entry of readdirSync(join(root, 'test'), { withFileTypes: true })) {
    if (!entry.isDirectory() || !containsTests(join(root, 'test', entry.name))) continue
    found.push({ name: entry.name, folder: `test/${entry.name}` })
  }
  return found
}

function containsTests(folder) {
  return readdirSync(folder, { recursive: true }).some((path) => path.endsWith('.test.ts'))
}

async function runSuite(name, folder) {
  const countsPath = join(root, '.cache', 'test-counts', `${name}.json`)
  mkdirSync(join(root, '.cache', 'test-counts'), { recursive: true })
  rmSync(countsPath, { force: true })
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const args = [
    vitest,
    'run',
    `${folder}/`,
    '--reporter=default',
    '--reporter=./scripts/count-reporter.mjs',
  ]
  const code = await exitCode(args, {
    ...process.env,
    CI: '1',
    ...(process.stdout.isTTY ? {} : { NO_COLOR: '1' }),
    ELANUS_TEST_COUNTS: countsPath,
  })
  try {
    const counts = JSON.parse(readFileSync(countsPath, 'utf8'))
    // Vitest is not content though no test failed: something outside of them went wrong.
    if (code !== 0 && counts.failed === 0) counts.failed = 1
    return counts
  } catch {
    return { passed: 0, failed: 1, skipped: 0, skips: [] }
  }
}

function exitCode(args, env) {
  return new Promise((resolve) => {
    spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] }).on(
      'exit',
      resolve,
    )
  })
}

function report() {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  console.log('\n=== suites')
  for (const { name, passed, failed, skipped, skips } of results) {
    console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`)
    for (const skip of skips) console.log(`  skipped: ${skip}`)
    sum.passed += passed
    sum.failed += failed
    sum.skipped += skipped
  }
  console.log(`\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
  process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1
}
