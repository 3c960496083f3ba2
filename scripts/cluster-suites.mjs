/**
 * The suites of the standalone server against each proxy of a running cluster, one file after the other (each empties the database),
 * those that want two proxies, and the demo. Ends with a table of files by proxy, and the reason of every skip.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')

/** Left out are those that have the server to themselves: bank, crash, endurance, full-disk, backup. docs/testing.md says why. */
const suites = [
  { name: 'clients', path: 'test/clients/' },
  { name: 'transactions', path: 'test/transactions/' },
  { name: 'differential', path: 'test/differential/' },
  { name: 'upkeep', path: 'test/upkeep/' },
  { name: 'fuzz', path: 'test/protocol/server-fuzz.test.ts' },
  { name: 'two-proxies', path: 'test/cluster/two-proxies.test.ts' },
  { name: 'demo' },
]

/**
 * @param proxies {name, pgPort}[]
 * @param wanted names of suites; none: all
 */
export async function runSuites(proxies, wanted) {
  const unknown = wanted.find((name) => !suites.some((suite) => suite.name === name))
  if (unknown !== undefined) {
    throw new Error(`no such suite: ${unknown}; ${suites.map(({ name }) => name).join(', ')}`)
  }
  const rows = new Map()
  const skips = new Set()
  let failed = 0
  for (const [i, proxy] of proxies.entries()) {
    // The first one is tested, the next one is the other.
    const inTurn = [...proxies.slice(i), ...proxies.slice(0, i)]
    for (const suite of suites) {
      if (wanted.length > 0 && !wanted.includes(suite.name)) continue
      console.log(`\n=== ${suite.name} on ${proxy.name}`)
      const files = suite.path === undefined ? await demo(proxy) : await run(suite, inTurn)
      for (const [file, counts] of Object.entries(files)) {
        const row = rows.get(file) ?? {}
        row[proxy.name] = counts
        rows.set(file, row)
        failed += counts.failed
        for (const skip of counts.skips) skips.add(`${file}: ${skip}`)
      }
    }
  }
  print(rows, skips, proxies)
  if (failed > 0 || rows.size === 0) process.exitCode = 1
}

async function run({ name, path }, proxies) {
  const folder = join(root, '.cache', 'test-counts')
  const countsPath = join(folder, `cluster-${name}.json`)
  mkdirSync(folder, { recursive: true })
  rmSync(countsPath, { force: true })
  const reporters = ['--reporter=default', '--reporter=./scripts/count-reporter.mjs']
  const code = await exitCode([vitest, 'run', path, ...reporters], {
    ...process.env,
    ELANUS_TEST_SERVER: proxies.map(({ pgPort }) => `127.0.0.1:${pgPort}`).join(','),
    ELANUS_TEST_COUNTS: countsPath,
  })
  try {
    const { files, failed } = JSON.parse(readFileSync(countsPath, 'utf8'))
    // Vitest is not content though no test failed: something outside of them went wrong.
    return code !== 0 && failed === 0 ? { ...files, [path]: failure } : files
  } catch {
    return { [path]: failure }
  }
}

const failure = { passed: 0, failed: 1, skipped: 0, skips: [] }

async function demo({ pgPort }) {
  const program = join(root, 'dist', 'cli', 'main.js')
  const code = await exitCode([program, 'demo', '--port', String(pgPort)], process.env)
  return { demo: code === 0 ? { ...failure, passed: 1, failed: 0 } : failure }
}

function exitCode(args, env) {
  return new Promise((resolve) => {
    spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] }).on(
      'exit',
      resolve,
    )
  })
}

function print(rows, skips, proxies) {
  console.log('\npassed / failed / skipped\n')
  console.log(`| Suite | ${proxies.map(({ name }) => name).join(' | ')} |`)
  console.log(`|---|${proxies.map(() => '---|').join('')}`)
  for (const [file, row] of rows) {
    const cells = proxies.map(({ name }) => cell(row[name]))
    console.log(
      `| ${file.replace(/^test\//, '').replace(/\.test\.ts$/, '')} | ${cells.join(' | ')} |`,
    )
  }
  if (skips.size > 0) console.log('\nskipped:')
  for (const skip of skips) console.log(`- ${skip}`)
}

function cell(counts) {
  if (counts === undefined) return ''
  return `${counts.passed} / ${counts.failed} / ${counts.skipped}`
}
