/**
 * A cluster on this machine's loopback: etcd, Kafka and MinIO (scripts/services.mjs), and two proxies, two coordinators, two
 * streaming nodes, two query nodes and a data node, each a process.
 *
 *   node scripts/cluster.mjs start [NAME …]    services, then what is not running, until every node says that it is ready
 *   node scripts/cluster.mjs stop [NAME …]     nodes in order; without names the services, too
 *   node scripts/cluster.mjs kill NAME …       kill -9
 *   node scripts/cluster.mjs rolling-restart [NAME …]   each node is stopped and started again under searches and writes
 *   node scripts/cluster.mjs test [SUITE …]    the suites of the standalone server against each proxy (scripts/cluster-suites.mjs)
 *   node scripts/cluster.mjs status
 *
 *   start --log objects          the log lies over object storage: no Kafka
 *   start --objects directory    a directory that all share: no MinIO
 *
 * A NAME beyond those, `query-3` say, is one more node of the kind.
 *
 * What it was started with first holds until its data is removed. Data and logs lie in ELANUS_CLUSTER (build/cluster); ports are
 * RPC 7401 and up, PostgreSQL 5501 and 5502; with ELANUS_CLUSTER_HTTP_PORT also /metrics from there on. Settings of `elanus start`
 * after `--` go to every node, e.g. `start -- --log-level warn`.
 */
import { spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runSuites } from './cluster-suites.mjs'
import { rollingRestart } from './rolling-restart.mjs'
import {
  addresses,
  s3Environment,
  start as startService,
  stop as stopService,
} from './services.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const data = process.env.ELANUS_CLUSTER ?? join(root, 'build', 'cluster')
const rpcPort = Number(process.env.ELANUS_CLUSTER_PORT ?? 7401)
const pgPort = Number(process.env.ELANUS_CLUSTER_PG_PORT ?? 5501)
/** Of /livez, /readyz and /metrics: this one and up, as the RPC ports; 0: none. */
const httpPort = Number(process.env.ELANUS_CLUSTER_HTTP_PORT ?? 0)
const readyMs = 90_000
/** Of 100 ms each, until a node that does not stop is killed. */
const stopAttempts = 600

/** In the order in which they are started; stopped in reverse. */
const kinds = ['coordinator', 'query', 'data', 'streaming', 'proxy']
const counts = { coordinator: 2, query: 2, data: 1, streaming: 2, proxy: 2 }
const nodes = kinds
  .flatMap((kind) => Array.from({ length: counts[kind] }, (_, i) => ({ kind, number: i + 1 })))
  .map(({ kind, number }, i) => ({
    name: `${kind}-${number}`,
    kind,
    rpcPort: rpcPort + i,
    pgPort: kind === 'proxy' ? pgPort + number - 1 : undefined,
  }))

const logs = { kafka: `kafka://${addresses.kafka}/elanus`, objects: 'objects://log' }
const objectStores = { s3: addresses.objects, directory: `directory://${join(data, 'objects')}` }

/** The data of a cluster is where it was put: a later start takes what the first one chose. */
function chooseStores(given) {
  const path = join(data, 'stores.json')
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined
  const chosen = { log: 'kafka', objects: 's3', ...before, ...given }
  if (logs[chosen.log] === undefined) throw new Error('--log: kafka or objects')
  if (objectStores[chosen.objects] === undefined) throw new Error('--objects: s3 or directory')
  if (before !== undefined && (before.log !== chosen.log || before.objects !== chosen.objects)) {
    throw new Error(
      `the cluster's data lies in log ${before.log}, objects ${before.objects}: stop it, remove ${data} and the services' data first`,
    )
  }
  if (before === undefined) {
    // Nodes that are started one beside the other read it meanwhile: half of it must not be there.
    const unfinished = `${path}.${process.pid}`
    writeFileSync(unfinished, JSON.stringify(chosen))
    renameSync(unfinished, path)
  }
  return chosen
}

function servicesOf({ log, objects }) {
  const wanted = { etcd: true, kafka: log === 'kafka', minio: objects === 's3' }
  return Object.keys(wanted).filter((name) => wanted[name])
}

/** One more than the cluster begins with: its ports lie behind those. */
function anotherNode(name) {
  const [, kind, digits] = /^([a-z]+)-([0-9]+)$/.exec(name) ?? []
  const number = Number(digits)
  if (!kinds.includes(kind) || number < 1 || number > 9) return undefined
  return {
    name,
    kind,
    rpcPort: rpcPort + 10 * (kinds.indexOf(kind) + 1) + number,
    pgPort: kind === 'proxy' ? pgPort + number - 1 : undefined,
  }
}

function nodeOf(name) {
  const node = nodes.find((candidate) => candidate.name === name) ?? anotherNode(name)
  if (node === undefined) throw new Error(`no such node: ${name}`)
  return node
}

/** Also those that were added. */
function runningNodes() {
  const added = existsSync(data)
    ? readdirSync(data)
        .filter((file) => file.endsWith('.pid'))
        .map((file) => nodeOf(file.slice(0, -'.pid'.length)))
    : []
  const names = new Set(nodes.map(({ name }) => name))
  return [...nodes, ...added.filter(({ name }) => !names.has(name))]
}

function argumentsOf(node, stores, extra) {
  const shared = [
    ...['--wal', logs[stores.log]],
    ...['--meta', `etcd://${addresses.etcd}/elanus`],
    ...['--objects', objectStores[stores.objects]],
    ...['--log-channels', '2', '--evaluators', '1', '--memory', '1GB', '--threads', '1'],
  ]
  const own = ['--node', node.kind, '--rpc-port', node.rpcPort, '--data', join(data, node.name)]
  const port = node.pgPort === undefined ? [] : ['--port', node.pgPort]
  const http = httpOf(node) === 0 ? [] : ['--http-port', httpOf(node)]
  return ['start', ...own, ...port, ...http, ...shared, ...extra].map(String)
}

function httpOf(node) {
  return httpPort === 0 ? 0 : httpPort + node.rpcPort - rpcPort
}

function pidOf({ name }) {
  try {
    const pid = Number(readFileSync(join(data, `${name}.pid`), 'utf8'))
    process.kill(pid, 0)
    return isZombie(pid) ? undefined : pid
  } catch {
    return undefined
  }
}

/** Ended, but nobody has asked how: in a container nobody may. */
function isZombie(pid) {
  const path = `/proc/${pid}/stat`
  return existsSync(path) && /\) Z /.test(readFileSync(path, 'utf8'))
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

function startNode(node, stores, extra) {
  const path = join(data, `${node.name}.log`)
  rmSync(path, { force: true })
  const log = openSync(path, 'a')
  const program = join(root, 'dist', 'cli', 'main.js')
  const child = spawn(process.execPath, [program, ...argumentsOf(node, stores, extra)], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...s3Environment, ...process.env },
  })
  child.unref()
  writeFileSync(join(data, `${node.name}.pid`), String(child.pid))
  writeFileSync(join(data, `${node.name}.http`), String(httpOf(node)))
}

function isReady({ name }) {
  const path = join(data, `${name}.log`)
  return existsSync(path) && readFileSync(path, 'utf8').includes('Elanus is ready')
}

async function start(wanted, given, extra) {
  if (!existsSync(join(root, 'dist', 'cli', 'main.js'))) throw new Error('first: npm run build')
  mkdirSync(join(data, 'objects'), { recursive: true })
  const stores = chooseStores(given)
  for (const name of servicesOf(stores)) await startService(name)
  const fresh = wanted.filter((node) => pidOf(node) === undefined)
  for (const node of fresh) startNode(node, stores, extra)
  const deadlineMs = Date.now() + readyMs
  for (const node of fresh) {
    while (!isReady(node)) {
      if (pidOf(node) === undefined || Date.now() > deadlineMs) {
        throw new Error(`${node.name} is not ready: see ${join(data, `${node.name}.log`)}`)
      }
      await sleep(100)
    }
    console.log(`${node.name} is ready${node.pgPort === undefined ? '' : ` on ${node.pgPort}`}`)
  }
}

async function endNode(node, signal) {
  const pid = pidOf(node)
  if (pid === undefined) return { ms: 0, wasKilled: false }
  const beganMs = performance.now()
  let wasKilled = false
  process.kill(pid, signal)
  for (let attempt = 0; attempt < stopAttempts + 50 && pidOf(node) !== undefined; attempt += 1) {
    if (attempt === stopAttempts) {
      wasKilled = true
      process.kill(pid, 'SIGKILL')
    }
    await sleep(100)
  }
  rmSync(join(data, `${node.name}.pid`), { force: true })
  return { ms: performance.now() - beganMs, wasKilled }
}

function status() {
  for (const node of runningNodes()) {
    const pid = pidOf(node)
    const port =
      node.pgPort === undefined ? '' : `, psql -h 127.0.0.1 -p ${node.pgPort} -U postgres`
    console.log(`${node.name}: ${pid === undefined ? 'stopped' : `process ${pid}${port}`}`)
  }
}

async function main(args) {
  const { values, positionals, tokens } = parseArgs({
    args,
    options: { log: { type: 'string' }, objects: { type: 'string' } },
    allowPositionals: true,
    tokens: true,
  })
  const end = tokens.find(({ kind }) => kind === 'option-terminator')
  const extra = end === undefined ? [] : args.slice(end.index + 1)
  const [verb = 'status', ...names] = positionals.slice(0, positionals.length - extra.length)
  if (verb === 'test') {
    await start(nodes, values, extra)
    return await runSuites(
      nodes.filter(({ kind }) => kind === 'proxy'),
      names,
    )
  }
  const wanted = names.map(nodeOf)
  if (verb === 'start') await start(wanted.length > 0 ? wanted : nodes, values, extra)
  else if (verb === 'stop') {
    for (const node of (wanted.length > 0 ? wanted : runningNodes()).slice().reverse())
      await endNode(node, 'SIGTERM')
    if (wanted.length === 0) {
      for (const name of ['minio', 'kafka', 'etcd']) await stopService(name)
    }
  } else if (verb === 'kill') {
    for (const node of wanted) await endNode(node, 'SIGKILL')
  } else if (verb === 'rolling-restart') {
    await rollingRestart(
      {
        nodes: wanted.length > 0 ? wanted : nodes,
        pgPorts: nodes.map((node) => node.pgPort).filter((port) => port !== undefined),
        stop: (node) => endNode(node, 'SIGTERM'),
        start: (node) => start([node], values, extra),
      },
      { rounds: 1, writers: 2, searchers: 2 },
    )
  } else if (verb === 'status') status()
  else throw new Error(`start, stop, kill, rolling-restart, test or status, not ${verb}`)
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`cluster: ${error.message}`)
  process.exitCode = 1
})
