/** psycopg 3, and the README of pgvector-python: python/*.py run in a virtual environment of their own. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { hasCommand, mustHavePassed, runCommand } from './walk-results.js'

const folder = fileURLToPath(new URL('python/', import.meta.url))
const environment = fileURLToPath(new URL('../../.cache/python-clients/', import.meta.url))
const python = `${environment}bin/python`
const packages = ['psycopg[binary]>=3.2,<4', 'pgvector', 'numpy', 'sqlalchemy>=2']

async function prepare(): Promise<string | undefined> {
  if (!hasCommand('python3', '-m', 'venv', '--help')) return 'there is no python3 with venv'
  if (existsSync(`${environment}ready`)) return undefined
  mkdirSync(environment, { recursive: true })
  const made = await runCommand('python3', ['-m', 'venv', environment])
  if (made.code !== 0) return `python3 -m venv failed: ${made.output.slice(-200)}`
  const installed = await runCommand(python, ['-m', 'pip', 'install', '--quiet', ...packages])
  if (installed.code !== 0) return `pip install failed: ${installed.output.slice(-200)}`
  await runCommand('touch', [`${environment}ready`])
  return undefined
}

const missing = await prepare()

describe.each(['psycopg_walk', 'pgvector_examples'])('%s', (module) => {
  const path = `${folder}${module}.py`
  const names = [...readFileSync(path, 'utf8').matchAll(/^def (test_\w+)/gm)].map(
    (match) => match[1] ?? '',
  )
  let server: TestServer | undefined
  let output = ''
  const results = new Map<string, string | undefined>()

  beforeAll(async () => {
    if (missing !== undefined) return
    server = await startServer()
    ;({ output } = await runCommand(python, [path, server.url]))
    for (const line of output.split('\n')) {
      if (!line.startsWith('{')) continue
      const { name, error } = JSON.parse(line) as { name: string; error?: string }
      results.set(name, error)
    }
  }, 300_000)

  afterAll(() => server?.stop())

  test.for(names)('%s', (name, context) => {
    if (missing !== undefined) context.skip(missing)
    mustHavePassed(results, name, output)
  })
})
