/** pgjdbc: jdbc/JdbcWalk.java, compiled with the driver from Maven Central. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { hasCommand, mustHavePassed, runCommand } from './walk-results.js'

const version = '42.7.4'
const source = fileURLToPath(new URL('jdbc/JdbcWalk.java', import.meta.url))
const cache = fileURLToPath(new URL('../../.cache/jdbc/', import.meta.url))
const driver = `${cache}postgresql-${version}.jar`

async function prepare(): Promise<string | undefined> {
  if (!hasCommand('javac', '-version')) return 'there is no javac'
  mkdirSync(`${cache}classes`, { recursive: true })
  if (!existsSync(driver)) {
    if (!hasCommand('mvn', '--version')) return 'there is no mvn to fetch the driver'
    const fetched = await runCommand('mvn', [
      '-q',
      'dependency:copy',
      `-Dartifact=org.postgresql:postgresql:${version}`,
      `-DoutputDirectory=${cache}`,
    ])
    if (fetched.code !== 0 || !existsSync(driver))
      return `mvn failed: ${fetched.output.slice(-200)}`
  }
  const compiled = await runCommand('javac', ['-cp', driver, '-d', `${cache}classes`, source])
  if (compiled.code !== 0) throw new Error(compiled.output)
  return undefined
}

const missing = await prepare()
const names = [...readFileSync(source, 'utf8').matchAll(/^ {4}check\("([^"]+)"/gm)].map(
  (match) => match[1] ?? '',
)

describe('pgjdbc', () => {
  let server: TestServer | undefined
  let output = ''
  const results = new Map<string, string | undefined>()

  beforeAll(async () => {
    if (missing !== undefined) return
    server = await startServer()
    const url = `jdbc:postgresql://${server.host}:${server.port}/${server.database}`
    ;({ output } = await runCommand('java', ['-cp', `${driver}:${cache}classes`, 'JdbcWalk', url]))
    for (const line of output.split('\n')) {
      const match = /^(ok|FAIL) ([^:]+)(?:: (.*))?$/.exec(line)
      if (match !== null)
        results.set(match[2] ?? '', match[1] === 'ok' ? undefined : (match[3] ?? 'failed'))
    }
  }, 300_000)

  afterAll(() => server?.stop())

  test.for(names)('%s', (name, context) => {
    if (missing !== undefined) context.skip(missing)
    mustHavePassed(results, name, output)
  })
})
