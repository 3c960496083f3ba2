/**
 * A real server process of the build in dist/, for the suites under test/: on a free port of 127.0.0.1, with a data
 * directory of its own unless one is given, ready when the promise resolves. With ELANUS_TEST_SERVER=HOST:PORT the server that
 * runs there, emptied (shared-server.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { emptyDatabase, sharedServers } from './shared-server.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const defaultDist = join(root, 'dist')
const readyMs = 60_000
const stopMs = 20_000

export interface ServerOptions {
  /** Kept when the server stops; undefined: a temporary one, removed by stop(). */
  readonly data?: string
  /** 0: any free port. */
  readonly port?: number
  /** Further arguments of `elanus start`. */
  readonly args?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Also with ELANUS_TEST_SERVER: a process beside the servers that run. */
  readonly own?: boolean
  /** Another build than this tree's, to compare with. */
  readonly dist?: string
}

export interface TestServer {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** '' of a shared server. */
  readonly data: string
  /** postgresql://… */
  readonly url: string
  /** undefined of a shared server. */
  readonly process: ChildProcess | undefined
  /** What the process has written so far: both streams. */
  output(): string
  /** SIGTERM and the end of the process; removes a temporary data directory. A second call does nothing. */
  stop(): Promise<void>
  /** SIGKILL and the end of the process; the data directory stays. */
  kill(): Promise<void>
}

/** @throws Error with the output of the process when it ends, or is silent for a minute, before it is ready */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  if (sharedServers.length > 0 && options.own !== true) return await takeSharedServer(options)
  const main = join(options.dist ?? defaultDist, 'cli/main.js')
  if (!existsSync(main)) throw new Error('there is no dist/: run `npm run build` first')
  const temporary =
    options.data === undefined ? await mkdtemp(join(tmpdir(), 'elanus-test-')) : undefined
  const data = options.data ?? temporary ?? ''
  const port = String(options.port ?? 0)
  const child = spawn(
    process.execPath,
    [main, 'start', '--port', port, '--data', data, ...(options.args ?? [])],
    {
      cwd: root,
      // Tests run with --conditions=source and vitest's own variables; the server is the built one.
      env: { ...process.env, NODE_OPTIONS: '', ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  // No server outlives the tests that started it, whatever ends them.
  const killNow = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', killNow)
  void ended.then(() => process.off('exit', killNow))

  const removeTemporary = async (): Promise<void> => {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    const deadline = setTimeout(killNow, stopMs)
    await ended
    clearTimeout(deadline)
  }
  let actualPort: number
  try {
    actualPort = await readyPort(child, () => output)
  } catch (error) {
    await end('SIGKILL')
    await removeTemporary()
    throw error
  }
  return {
    host: '127.0.0.1',
    port: actualPort,
    user: 'postgres',
    database: 'postgres',
    data,
    url: `postgresql://postgres@127.0.0.1:${actualPort}/postgres`,
    process: child,
    output: () => output,
    async stop() {
      await end('SIGTERM')
      await removeTemporary()
    },
    kill: () => end('SIGKILL'),
  }
}

/** Its settings are those it was started with: `args` are left out. */
async function takeSharedServer(options: ServerOptions): Promise<TestServer> {
  const [address] = sharedServers
  if (address === undefined || options.data !== undefined) {
    throw new Error('a data directory needs a server of its own: leave out ELANUS_TEST_SERVER')
  }
  await emptyDatabase(address)
  const { host, port } = address
  return {
    host,
    port,
    user: 'postgres',
    database: 'postgres',
    data: '',
    url: `postgresql://postgres@${host}:${port}/postgres`,
    process: undefined,
    output: () => '',
    async stop() {},
    async kill() {
      throw new Error('a shared server is not killed: leave out ELANUS_TEST_SERVER')
    },
  }
}

/** "Elanus is ready: psql -h 127.0.0.1 -p 5432 …" */
function readyPort(child: ChildProcess, output: () => string): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      settle()
      reject(new Error(`the server ${why} before it was ready:\n${output()}`))
    }
    const look = (): void => {
      const port = /Elanus is ready.* -p (\d+)/.exec(output())?.[1]
      if (port === undefined) return
      settle()
      resolve(Number(port))
    }
    const exited = (code: number | null, signal: string | null): void =>
      fail(`ended with ${code ?? signal}`)
    const deadline = setTimeout(() => fail(`said nothing for ${readyMs / 1000} s`), readyMs)
    const settle = (): void => {
      clearTimeout(deadline)
      child.stdout?.off('data', look)
      child.off('exit', exited)
      child.off('error', failed)
    }
    const failed = (error: Error): void => fail(`could not be started (${error.message})`)
    child.stdout?.on('data', look)
    child.once('exit', exited)
    child.once('error', failed)
  })
}
