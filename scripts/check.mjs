/** `npm run check`: formatting and lint, layers, dead code, types; side by side, in seconds. Arguments choose: `npm run check -- types layers`. */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { setUpModules } from './set-up.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

const checks = [
  {
    name: 'types',
    command: 'typescript/bin/tsc',
    args: ['-p', 'tsconfig.json', '--pretty', 'false'],
  },
  {
    name: 'format and lint',
    command: '@biomejs/biome/bin/biome',
    args: ['ci', '--colors=off', '--diagnostic-level=error', '--max-diagnostics=20'],
  },
  {
    name: 'layers',
    command: 'dependency-cruiser/bin/dependency-cruise.mjs',
    args: ['src', '--config', '.dependency-cruiser.cjs', '--output-type', 'err'],
  },
  {
    name: 'dead code',
    command: 'knip/bin/knip.js',
    args: ['--no-progress', '--tsConfig', 'tsconfig.build.json'],
  },
  {
    name: 'compose file',
    command: 'dclint/bin/dclint.cjs',
    args: ['docker', '--config', 'docker/dclint.json'],
  },
  {
    name: 'settings in README',
    command: 'tsx/dist/cli.mjs',
    args: ['--conditions=source', 'scripts/settings-table.ts', '--check'],
  },
]

/** @returns {Promise<{ passed: number, failed: number }>} */
export async function check(wanted = []) {
  await setUpModules()
  const chosen = checks.filter(
    ({ name }) => wanted.length === 0 || wanted.some((word) => name.includes(word)),
  )
  const results = await Promise.all(chosen.map(runCheck))
  for (const { name, ok, output, seconds } of results) {
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`)
    if (!ok) console.log(output.trimEnd())
  }
  const failed = results.filter(({ ok }) => !ok).length
  return { passed: results.length - failed, failed }
}

function runCheck({ name, command, args }) {
  const startedMs = Date.now()
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'node_modules', command), ...args], {
      cwd: root,
    })
    let output = ''
    child.stdout.on('data', (bytes) => (output += bytes))
    child.stderr.on('data', (bytes) => (output += bytes))
    child.on('exit', (code) => {
      resolve({
        name,
        ok: code === 0,
        output,
        seconds: ((Date.now() - startedMs) / 1000).toFixed(1),
      })
    })
  })
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { failed } = await check(process.argv.slice(2))
  process.exitCode = failed === 0 ? 0 : 1
}
