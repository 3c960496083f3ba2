/**
 * Log, meta store and objects of a process: embedded in the data directory, or the services that settings name. Adapters of
 * services are loaded only where they are used: their clients are large.
 */
import { join, resolve } from 'node:path'
import type { Runtime } from '#base/runtime.js'
import { type Config, ConfigError } from '#config.js'
import { acquireDataDirectoryLock } from '#storage/data-directory-lock.js'
import { openEmbeddedMeta } from '#storage/meta/embedded/embedded-meta.js'
import type { MetaStore } from '#storage/meta/meta.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import type { ObjectStore } from '#storage/objects/objects.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import type { Wal } from '#storage/wal/wal.js'

export interface Stores {
  readonly wal: Wal
  readonly meta: MetaStore
  readonly objects: ObjectStore
  /** Nobody else can be there: log and meta store lie in the data directory, and its lock is ours. */
  readonly isExclusive: boolean
  close(): Promise<void>
}

type StoreSettings = Pick<Config, 'data' | 'wal' | 'meta' | 'objects' | 'cache'>

const defaultPrefix = 'elanus'

/** @throws ConfigError; StoreError */
export async function openStores(config: StoreSettings, runtime: Runtime): Promise<Stores> {
  const lock = await acquireDataDirectoryLock(config.data)
  const [meta, objects] = await Promise.all([
    openMeta(config, runtime),
    openObjects(config, runtime),
  ])
  const wal = await openWal(config, objects, runtime)
  return {
    wal,
    meta,
    objects,
    isExclusive: config.wal === undefined && config.meta === undefined,
    async close() {
      await wal.close()
      await Promise.all([meta.close(), objects.close()])
      await lock.release()
    },
  }
}

async function openWal(
  { data, wal }: StoreSettings,
  objects: ObjectStore,
  runtime: Runtime,
): Promise<Wal> {
  if (wal === undefined) return await openEmbeddedWal(join(data, 'log'), runtime)
  if (wal.startsWith('objects:')) {
    const { hosts } = parseStore('--wal', wal, 'objects', [])
    const { openObjectWal } = await import('#storage/wal/objects/object-wal.js')
    return openObjectWal(objects, hosts.join(), runtime)
  }
  const { hosts, path, options } = parseStore('--wal', wal, 'kafka', ['replication'])
  const { openKafkaWal } = await import('#storage/wal/kafka/kafka-wal.js')
  const replicationFactor = Number(options.get('replication') ?? 1)
  return openKafkaWal({ brokers: hosts, prefix: path || defaultPrefix, replicationFactor }, runtime)
}

/** Also for who needs nothing else of a database, as long as nobody runs it. */
export async function openMeta(
  { data, meta }: Pick<StoreSettings, 'data' | 'meta'>,
  runtime: Runtime,
): Promise<MetaStore> {
  if (meta === undefined) return await openEmbeddedMeta(join(data, 'meta'))
  const { hosts, path } = parseStore('--meta', meta, 'etcd', [])
  const { openEtcdMeta } = await import('#storage/meta/etcd/etcd-meta.js')
  return openEtcdMeta({ endpoints: hosts, prefix: path || defaultPrefix }, runtime)
}

/** As --objects has it, also for the data directory's. */
export function objectsUrlOf({ data, objects }: Pick<StoreSettings, 'data' | 'objects'>): string {
  return objects ?? `directory://${resolve(data, 'objects')}`
}

export async function openObjects(
  { data, objects, cache }: Pick<StoreSettings, 'data' | 'objects' | 'cache'>,
  runtime: Runtime,
): Promise<ObjectStore> {
  if (objects === undefined) return await openDirectoryObjects(join(data, 'objects'))
  const [, shared] = /^directory:\/\/(\/.+)$/.exec(objects) ?? []
  if (shared !== undefined) return await openDirectoryObjects(shared, { isShared: true })
  const { hosts, path, options } = parseStore('--objects', objects, 's3', ['endpoint', 'region'])
  const [bucket = ''] = hosts
  const { openS3Objects } = await import('#storage/objects/s3/s3-objects.js')
  const { openCachedObjects } = await import('#storage/objects/cache/cached-objects.js')
  const remote = await openS3Objects({
    endpoint: checkEndpoint(options.get('endpoint')),
    region: options.get('region') ?? 'us-east-1',
    bucket,
    prefix: path,
    credentials: undefined,
    runtime,
  })
  const directory = join(data, 'cache', 'copies')
  return await openCachedObjects({ objects: remote, directory, bytesMax: cache, runtime })
}

/** @throws ConfigError */
function checkEndpoint(given: string | null): string | undefined {
  if (given === null) return undefined
  const url = URL.canParse(given) ? new URL(given) : undefined
  const isPlain = url?.username === '' && url.password === '' && /^https?:$/.test(url.protocol)
  if (isPlain) return url.origin
  throw new ConfigError(
    '--objects: endpoint is http://HOST:PORT or https://HOST:PORT; keys do not belong there',
  )
}

interface ParsedStore {
  readonly hosts: readonly string[]
  readonly path: string
  readonly options: URLSearchParams
}

/** `scheme://host:port[,host:port]/path?name=value`. @throws ConfigError */
function parseStore(
  flag: string,
  given: string,
  scheme: string,
  names: readonly string[],
): ParsedStore {
  const [, found, hosts = '', path = '', query = ''] =
    /^([a-z0-9]+):\/\/([^/?]+)(?:\/([^?]*))?(?:\?(.*))?$/.exec(given) ?? []
  const options = new URLSearchParams(query)
  const unknown = [...options.keys()].find((name) => !names.includes(name))
  if (found !== scheme || hosts.includes('@') || unknown !== undefined) {
    const known = names.length === 0 ? '' : `?${names.map((name) => `${name}=…`).join('&')}`
    const secrets = hosts.includes('@') ? '; passwords and keys do not belong there' : ''
    throw new ConfigError(`${flag}: write ${scheme}://HOST[,HOST…]/NAME${known}${secrets}`)
  }
  return { hosts: hosts.split(','), path: path.replace(/^\/+|\/+$/g, ''), options }
}
