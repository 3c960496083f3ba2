/**
 * The services that a cluster stands on, on this machine's loopback: etcd, Kafka (KRaft, one broker) and MinIO.
 *
 *   node scripts/services.mjs start [etcd] [kafka] [minio]    fetches and builds once, starts what is not running, waits until it answers
 *   node scripts/services.mjs stop [...] | kill NAME | status | env
 *
 * Programs lie in build/services/<name>, data and logs in ELANUS_SERVICES (build/services/data). etcd comes from Debian
 * (etcd-server), Kafka from Maven Central, MinIO is built from its Go module. `env` prints what tests and `elanus start` need.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const programs = join(root, 'build', 'services')
const data = process.env.ELANUS_SERVICES ?? join(programs, 'data')
const basePort = Number(process.env.ELANUS_SERVICES_PORT ?? 23790)
/** Another address than loopback only where nobody else gets: a network namespace of a test. */
const host = process.env.ELANUS_SERVICES_HOST ?? '127.0.0.1'
const kafkaVersion = '4.1.0'
/** The last release of the module; its code says when: 2026-02-12. */
const minioVersion = 'v0.0.0-20260212201848-7aac2a2c5b7c'
/** Known to everybody: these servers listen on loopback and hold test data. */
const minioUser = 'elanus'
const minioPassword = 'elanus-test'
export const bucket = 'elanus'

const ports = {
  etcd: basePort,
  etcdPeer: basePort + 1,
  kafka: basePort + 2,
  kafkaController: basePort + 3,
  minio: basePort + 4,
}

export const addresses = {
  etcd: `${host}:${ports.etcd}`,
  kafka: `${host}:${ports.kafka}`,
  s3: `http://${minioUser}:${minioPassword}@${host}:${ports.minio}/${bucket}`,
  /** As `elanus start --objects` takes it; the keys come from the environment. */
  objects: `s3://${bucket}/elanus?endpoint=http://${host}:${ports.minio}`,
}

export const s3Environment = {
  AWS_ACCESS_KEY_ID: minioUser,
  AWS_SECRET_ACCESS_KEY: minioPassword,
}

const services = {
  etcd: {
    port: ports.etcd,
    install() {
      if (has('etcd')) return
      run('apt-get', ['install', '-y', '--no-install-recommends', 'etcd-server'])
      // Debian starts one of its own.
      spawnSync('systemctl', ['disable', '--now', 'etcd'], { stdio: 'ignore' })
    },
    command: () => ({
      program: 'etcd',
      args: [
        ...['--name', 'elanus', '--data-dir', join(data, 'etcd')],
        ...['--listen-client-urls', `http://${addresses.etcd}`],
        ...['--advertise-client-urls', `http://${addresses.etcd}`],
        ...['--listen-peer-urls', `http://${host}:${ports.etcdPeer}`],
        ...['--initial-advertise-peer-urls', `http://${host}:${ports.etcdPeer}`],
        ...['--initial-cluster', `elanus=http://${host}:${ports.etcdPeer}`],
        ...[
          '--max-txn-ops',
          '65536',
          '--max-request-bytes',
          '67108864',
          '--auto-compaction-mode',
          'periodic',
          '--auto-compaction-retention',
          '1h',
        ],
      ],
    }),
  },
  kafka: {
    port: ports.kafka,
    install() {
      const libs = join(programs, 'kafka', kafkaVersion)
      if (existsSync(join(libs, 'complete'))) return
      mkdirSync(libs, { recursive: true })
      writeFileSync(join(libs, 'pom.xml'), kafkaPom())
      run('mvn', [
        '-q',
        '-f',
        join(libs, 'pom.xml'),
        'dependency:copy-dependencies',
        `-DoutputDirectory=${libs}`,
      ])
      writeFileSync(join(libs, 'complete'), '')
    },
    prepare() {
      const config = join(data, 'kafka.properties')
      writeFileSync(config, kafkaProperties())
      if (existsSync(join(data, 'kafka', 'meta.properties'))) return
      run('java', [
        '-cp',
        kafkaClassPath(),
        'kafka.tools.StorageTool',
        'format',
        '-t',
        kafkaClusterId,
        '-c',
        config,
      ])
    },
    command: () => ({
      program: 'java',
      args: [
        '-Xmx512m',
        '-Xms64m',
        '-cp',
        kafkaClassPath(),
        'kafka.Kafka',
        join(data, 'kafka.properties'),
      ],
    }),
  },
  minio: {
    port: ports.minio,
    install() {
      if (existsSync(join(programs, 'minio', 'minio'))) return
      mkdirSync(join(programs, 'minio'), { recursive: true })
      console.log('building MinIO from its Go module: several minutes, once')
      run(
        'go',
        ['install', '-trimpath', '-ldflags', '-s -w', `github.com/minio/minio@${minioVersion}`],
        {
          GOBIN: join(programs, 'minio'),
        },
      )
    },
    prepare() {
      // A folder of a single drive is a bucket.
      mkdirSync(join(data, 'minio', bucket), { recursive: true })
    },
    command: () => ({
      program: join(programs, 'minio', 'minio'),
      args: ['server', '--quiet', '--address', `${host}:${ports.minio}`, join(data, 'minio')],
      env: {
        MINIO_ROOT_USER: minioUser,
        MINIO_ROOT_PASSWORD: minioPassword,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
      },
    }),
  },
}

/** Any 16 bytes: the broker's directory is ours alone. */
const kafkaClusterId = 'ZWxhbnVzLXRlc3Qta2Fma2E'

function kafkaClassPath() {
  return join(programs, 'kafka', kafkaVersion, '*')
}

function kafkaPom() {
  const dependency = (group, artifact, version) =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>elanus</groupId><artifactId>kafka-server</artifactId><version>1</version><dependencies>
${dependency('org.apache.kafka', 'kafka_2.13', kafkaVersion)}
${dependency('org.slf4j', 'slf4j-simple', '1.7.36')}
</dependencies></project>
`
}

function kafkaProperties() {
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@${host}:${ports.kafkaController}
listeners=PLAINTEXT://${host}:${ports.kafka},CONTROLLER://${host}:${ports.kafkaController}
advertised.listeners=PLAINTEXT://${host}:${ports.kafka}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=${join(data, 'kafka')}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
# An acknowledged record is on disk: one broker has no replicas to rely on.
log.flush.interval.messages=1
`
}

function has(program) {
  return spawnSync('which', [program], { stdio: 'ignore' }).status === 0
}

function run(program, args, env = {}) {
  const { status, error, stderr, stdout } = spawnSync(program, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  })
  if (status === 0) return
  throw new Error(
    `${program} failed: ${error?.message ?? `${stdout}${stderr}`.trim().split('\n').slice(-5).join('\n')}`,
  )
}

function pidOf(name) {
  try {
    const pid = Number(readFileSync(join(data, `${name}.pid`), 'utf8'))
    process.kill(pid, 0)
    return pid
  } catch {
    return undefined
  }
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: 1000 })
    const end = (result) => {
      socket.destroy()
      resolve(result)
    }
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false))
  })
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Started on its own, so that it outlives this process; ended by its process id. */
export async function start(name) {
  const service = services[name]
  if (pidOf(name) === undefined) {
    mkdirSync(data, { recursive: true })
    service.install()
    service.prepare?.()
    const { program, args, env } = service.command()
    const log = openSync(join(data, `${name}.log`), 'a')
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
    })
    child.unref()
    writeFileSync(join(data, `${name}.pid`), String(child.pid))
  }
  // A broker takes seconds, on a machine that is busy with other things more than a minute.
  for (let attempt = 0; attempt < 1800; attempt += 1) {
    if (await answers(service.port)) return
    if (pidOf(name) === undefined) break
    await sleep(100)
  }
  throw new Error(`${name} does not answer: see ${join(data, `${name}.log`)}`)
}

export async function stop(name, signal = 'SIGTERM') {
  const pid = pidOf(name)
  if (pid === undefined) return
  process.kill(pid, signal)
  for (let attempt = 0; attempt < 300 && pidOf(name) !== undefined; attempt += 1) {
    if (attempt === 200) process.kill(pid, 'SIGKILL')
    await sleep(100)
  }
  rmSync(join(data, `${name}.pid`), { force: true })
}

async function main([verb = 'status', ...wanted]) {
  const names = wanted.length > 0 ? wanted : Object.keys(services)
  for (const name of names) {
    if (services[name] === undefined)
      throw new Error(`no such service: ${name} (${Object.keys(services).join(', ')})`)
  }
  if (verb === 'start') {
    for (const name of names) {
      await start(name)
      console.log(`${name} listens on ${host}:${services[name].port}`)
    }
  } else if (verb === 'stop') for (const name of names) await stop(name)
  else if (verb === 'kill') for (const name of names) await stop(name, 'SIGKILL')
  else if (verb === 'env') {
    console.log(
      `ELANUS_TEST_ETCD=${addresses.etcd}\nELANUS_TEST_KAFKA=${addresses.kafka}\nELANUS_TEST_S3=${addresses.s3}`,
    )
  } else if (verb === 'status') {
    for (const name of names) {
      const pid = pidOf(name)
      console.log(
        `${name}: ${pid === undefined ? 'stopped' : `process ${pid}, ${host}:${services[name].port}`}`,
      )
    }
  } else throw new Error(`start, stop, kill, status or env, not ${verb}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(`services: ${error.message}`)
    process.exitCode = 1
  })
}
