/** A cluster of scripts/cluster.mjs that is grown and shrunk, and what its processes have used and called. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { cpuSeconds } from '../streaming/cpu.js'

const scripts = fileURLToPath(new URL('../../scripts', import.meta.url))

export interface ClusterOptions {
  readonly folder: string
  /** Services, RPC, HTTP and PostgreSQL ports are this one and the following two hundred. */
  readonly port: number
  readonly logChannels: number
}

export interface Usage {
  readonly name: string
  readonly kind: string
  readonly cpuSeconds: number
}

/** Of one method of one process's /metrics, since its start. */
export interface CallSum {
  readonly count: number
  readonly seconds: number
}

export class ScaledCluster {
  readonly #options: ClusterOptions
  readonly #environment: NodeJS.ProcessEnv

  constructor(options: ClusterOptions) {
    this.#options = options
    const { folder, port } = options
    this.#environment = {
      ...process.env,
      // Tests run from source; the nodes are the built ones.
      NODE_OPTIONS: '',
      ELANUS_SERVICES: join(folder, 'services'),
      ELANUS_SERVICES_PORT: String(port),
      ELANUS_CLUSTER: join(folder, 'cluster'),
      ELANUS_CLUSTER_PORT: String(port + 10),
      ELANUS_CLUSTER_PG_PORT: String(port + 190),
      ELANUS_CLUSTER_HTTP_PORT: String(port + 100),
    }
    for (const name of ['services', 'cluster']) mkdirSync(join(folder, name), { recursive: true })
    process.once('exit', () => this.#killNow())
  }

  proxyUrl(number: number): string {
    return `postgres://postgres@127.0.0.1:${this.#options.port + 189 + number}/postgres`
  }

  /** @param names none: the usual nine, and the services */
  async start(...names: readonly string[]): Promise<void> {
    const channels = ['--log-channels', String(this.#options.logChannels)]
    await this.#run(['start', ...names, '--', ...channels])
  }

  /** In order: what they have moves elsewhere first. */
  async stop(...names: readonly string[]): Promise<void> {
    await this.#run(['stop', ...names])
  }

  /** CPU seconds so far of everything that runs, services too. */
  usage(): readonly Usage[] {
    return ['cluster', 'services'].flatMap((folder) =>
      this.#pids(folder).map(({ name, pid }) => ({
        name,
        kind: name.replace(/-[0-9]+$/, ''),
        cpuSeconds: cpuSeconds(pid),
      })),
    )
  }

  residentMegabytes(): ReadonlyMap<string, number> {
    const found = new Map<string, number>()
    for (const folder of ['cluster', 'services']) {
      for (const { name, pid } of this.#pids(folder)) {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8')
        found.set(name, Number(/VmRSS:\s+([0-9]+)/.exec(status)?.[1]) / 1024)
      }
    }
    return found
  }

  /** By 'contract.method'. @param histogram elanus_call_seconds (served) or elanus_made_call_seconds */
  async calls(name: string, histogram: string): Promise<ReadonlyMap<string, CallSum>> {
    const text = await this.#metrics(name)
    const line = new RegExp(`^${histogram}_(sum|count)\\{(.*)\\} (\\S+)$`, 'gm')
    const found = new Map<string, { count: number; seconds: number }>()
    for (const [, what, labels = '', value] of text.matchAll(line)) {
      const label = (of: string): string => new RegExp(`${of}="([^"]*)"`).exec(labels)?.[1] ?? ''
      const key = label('kind') || `${label('contract')}.${label('method')}`
      const sums = found.get(key) ?? { count: 0, seconds: 0 }
      if (what === 'sum') sums.seconds = Number(value)
      else sums.count = Number(value)
      found.set(key, sums)
    }
    return found
  }

  async #metrics(name: string): Promise<string> {
    const port = Number(readFileSync(join(this.#options.folder, 'cluster', `${name}.http`), 'utf8'))
    return await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  }

  #pids(folder: string): { name: string; pid: number }[] {
    const path = join(this.#options.folder, folder)
    return readdirSync(path)
      .filter((file) => file.endsWith('.pid'))
      .map((file) => ({
        name: file.slice(0, -'.pid'.length),
        pid: Number(readFileSync(join(path, file), 'utf8')),
      }))
      .filter(({ pid }) => existsSync(`/proc/${pid}/stat`))
  }

  #killNow(): void {
    for (const folder of ['cluster', 'services']) {
      for (const { pid } of this.#pids(folder)) process.kill(pid, 'SIGKILL')
    }
  }

  #run(args: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [join(scripts, 'cluster.mjs'), ...args], {
        env: this.#environment,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      })
      let output = ''
      child.stdout.on('data', (bytes) => {
        output += bytes
      })
      child.stderr.on('data', (bytes) => {
        output += bytes
      })
      child.once('error', reject)
      child.once('exit', (code) => {
        if (code === 0) resolve()
        else reject(new Error(`cluster.mjs ${args.join(' ')}: ${output.trim()}`))
      })
    })
  }
}

/** CPU seconds between two looks, of those that were there at both. */
export function usedBetween(before: readonly Usage[], after: readonly Usage[]): readonly Usage[] {
  return after.flatMap((usage) => {
    const first = before.find(({ name }) => name === usage.name)
    if (first === undefined) return []
    return [{ ...usage, cpuSeconds: usage.cpuSeconds - first.cpuSeconds }]
  })
}

/** Until what it asks for holds three times in a row. @throws Error after two minutes */
export async function untilSteady(what: string, look: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 120_000
  for (let steady = 0; steady < 3; ) {
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within two minutes`)
    steady = (await look().catch(() => false)) ? steady + 1 : 0
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

export async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  return client
}
