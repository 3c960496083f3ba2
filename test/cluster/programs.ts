/**
 * The services and the cluster of scripts/services.mjs and scripts/cluster.mjs, in a folder and on ports of their own. They end
 * with this process, whatever ends it.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const serviceNames = ['etcd', 'kafka', 'minio'] as const
const scripts = fileURLToPath(new URL('../../scripts', import.meta.url))

export interface ProgramsOptions {
  readonly folder: string
  /** Services, RPC and PostgreSQL ports are this one and the following hundred. */
  readonly port: number
  /** Of `cluster.mjs start`. */
  readonly startArguments: readonly string[]
  /** Hosts of their own; all on this one unless given. */
  readonly places?: Places
}

/** Every node has a host with its name, the services share one. */
export interface Places {
  readonly services: Place
  /** Names of nodes. */
  of(name: string): Place
  /** Of `elanus start` on all of them. */
  readonly arguments: readonly string[]
  /** Proxies listen where others reach them: they ask for one. */
  readonly password: string
}

export interface Place {
  readonly address: string
  /** What to put before a command so that it runs there. */
  readonly enter: readonly string[]
}

/** In the order in which cluster.mjs gives out ports. */
export const nodeNames = [
  ...['coordinator-1', 'coordinator-2', 'query-1', 'query-2', 'data-1'],
  ...['streaming-1', 'streaming-2', 'proxy-1', 'proxy-2'],
]

export interface Address {
  readonly host: string
  readonly port: number
  readonly password?: string
}

export class Programs {
  readonly proxies: readonly Address[]
  readonly etcd: string
  readonly #options: ProgramsOptions
  readonly #environment: NodeJS.ProcessEnv
  #lives = 0

  constructor(options: ProgramsOptions) {
    this.#options = options
    const { port, places } = options
    const services = places?.services.address ?? '127.0.0.1'
    this.#environment = {
      ...process.env,
      // Tests run from source; the nodes are the built ones.
      NODE_OPTIONS: '',
      ELANUS_SERVICES: join(options.folder, 'services'),
      ELANUS_SERVICES_HOST: services,
      ELANUS_SERVICES_PORT: String(port),
      ELANUS_CLUSTER: join(options.folder, 'cluster'),
      ELANUS_CLUSTER_PORT: String(port + 10),
      ELANUS_CLUSTER_PG_PORT: String(port + 50),
    }
    this.proxies = [0, 1].map((i) => ({
      host: places?.of(`proxy-${i + 1}`).address ?? '127.0.0.1',
      port: port + 50 + i,
      ...(places === undefined ? {} : { password: places.password }),
    }))
    this.etcd = `${services}:${port}`
    mkdirSync(this.#folder('services'), { recursive: true })
    mkdirSync(this.#folder('cluster'), { recursive: true })
    process.once('exit', () => this.killNow())
  }

  async start(): Promise<void> {
    const { places, startArguments } = this.#options
    if (places === undefined) return await this.#run('cluster.mjs', ['start', ...startArguments])
    await this.#run('services.mjs', ['start', 'etcd', 'kafka', 'minio'], places.services)
    await Promise.all(nodeNames.map((name) => this.#startNodes([name])))
  }

  async #startNodes(names: readonly string[]): Promise<void> {
    const { places, startArguments } = this.#options
    if (places === undefined) {
      return await this.#run('cluster.mjs', ['start', ...names, ...startArguments])
    }
    for (const name of names) {
      const place = places.of(name)
      const port = this.#options.port + 10 + nodeNames.indexOf(name)
      const shown = ['--advertise', `${place.address}:${port}`, ...places.arguments]
      const listening = ['--host', place.address, '--auth', 'scram-sha-256']
      const own = name.startsWith('proxy') ? [...shown, ...listening] : shown
      const args = ['start', name, ...startArguments, '--', ...own]
      await this.#run('cluster.mjs', args, place)
    }
  }

  /** SIGKILL of nodes and services; resolves when they have ended. */
  async kill(names: readonly string[]): Promise<void> {
    const [services, nodes] = byScript(names)
    await Promise.all([
      ...services.map((name) => this.#run('services.mjs', ['kill', name])),
      nodes.length > 0 ? this.#run('cluster.mjs', ['kill', ...nodes]) : undefined,
    ])
  }

  /** Resolves when services answer and nodes say that they are ready. */
  async restart(names: readonly string[]): Promise<void> {
    const [services, nodes] = byScript(names)
    for (const name of services) {
      await this.#run('services.mjs', ['start', name], this.#options.places?.services)
    }
    for (const name of nodes) this.#keepLog(name)
    if (nodes.length > 0) await this.#startNodes(nodes)
  }

  /** Which services there are: objects may lie in a directory, the log in the object store. */
  services(): readonly string[] {
    return serviceNames.filter((name) => this.pid(name) !== undefined)
  }

  /** @param address host:port of its RPC server, as cluster.mjs gives them out: coordinators first */
  coordinatorAt(address: string): string {
    return address.endsWith(`:${this.#options.port + 10}`) ? 'coordinator-1' : 'coordinator-2'
  }

  /** The folder in which a service keeps its data; `objects`: that of a directory as object store. */
  dataOf(name: string): string {
    return join(this.#folder(name === 'objects' ? 'cluster' : 'services'), name)
  }

  /** In order. */
  async stop(): Promise<void> {
    await this.#run('cluster.mjs', ['stop'])
    await this.#run('services.mjs', ['stop'])
  }

  /** A process that runs. */
  pid(name: string): number | undefined {
    const folder = isService(name) ? 'services' : 'cluster'
    const path = join(this.#folder(folder), `${name}.pid`)
    if (!existsSync(path)) return undefined
    const pid = Number(readFileSync(path, 'utf8'))
    return isRunning(pid) ? pid : undefined
  }

  signal(name: string, signal: NodeJS.Signals): void {
    const pid = this.pid(name)
    if (pid !== undefined) process.kill(pid, signal)
  }

  /** By process id, without waiting. */
  killNow(): void {
    for (const folder of ['cluster', 'services'] as const) {
      for (const file of readdirSync(this.#folder(folder))) {
        if (file.endsWith('.pid')) this.signal(file.slice(0, -4), 'SIGKILL')
      }
    }
  }

  /** What nodes have written in all their lives: defects show as XX000 or invariants. */
  findDefects(): readonly string[] {
    const found: string[] = []
    const folder = this.#folder('cluster')
    for (const file of readdirSync(folder)) {
      if (!file.includes('.log')) continue
      for (const line of readFileSync(join(folder, file), 'utf8').split('\n')) {
        if (/internal error [0-9a-f]{12}|InvariantError|TypeError|unhandled/i.test(line)) {
          found.push(`${file}: ${line.slice(0, 300)}`)
        }
      }
    }
    return found
  }

  #folder(name: 'services' | 'cluster'): string {
    return join(this.#options.folder, name)
  }

  #keepLog(name: string): void {
    const path = join(this.#folder('cluster'), `${name}.log`)
    this.#lives += 1
    if (existsSync(path)) renameSync(path, `${path}.${this.#lives}`)
  }

  /** @throws Error with what the script says */
  #run(script: string, args: readonly string[], place?: Place): Promise<void> {
    return new Promise((resolve, reject) => {
      // A group of its own: Ctrl-C is ours to handle.
      const command = [...(place?.enter ?? []), process.execPath, join(scripts, script), ...args]
      const [program = '', ...rest] = command
      const password = this.#options.places?.password
      const child = spawn(program, rest, {
        env: {
          ...this.#environment,
          ...(password === undefined ? {} : { ELANUS_PASSWORD: password }),
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      })
      let output = ''
      const read = (bytes: Buffer): void => {
        output += bytes.toString()
      }
      child.stdout.on('data', read)
      child.stderr.on('data', read)
      child.once('error', reject)
      child.once('exit', (code) => {
        if (code === 0) resolve()
        else reject(new Error(`${script} ${args.join(' ')}: ${output.trim()}`))
      })
    })
  }
}

function isService(name: string): boolean {
  return (serviceNames as readonly string[]).includes(name)
}

function byScript(names: readonly string[]): readonly [string[], string[]] {
  return [names.filter(isService), names.filter((name) => !isService(name))]
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // Ended, and nobody has asked how: in a container nobody may.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
