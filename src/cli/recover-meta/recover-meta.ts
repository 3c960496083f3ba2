/**
 * `elanus recover-meta`: a lost meta store made again from its copy in the object store; the log tells the rest when the
 * streaming nodes replay it (docs/recover-meta.md).
 *
 * 1. Nobody runs, and nothing is there. 2. A mark: who opens it now is refused. 3. The keys, with counters moved past what may
 * have been given out since. 4. The mark goes.
 *
 * Crash: the mark stays; run it again.
 */
import { availableParallelism, totalmem } from 'node:os'
import { systemRuntime } from '#base/system-runtime.js'
import { timestampFrom } from '#base/timestamp.js'
import { print } from '#cli/print.js'
import { type CopiedMeta, readCopy } from '#cli/recover-meta/read-copy.js'
import { ConfigError, parseConfig } from '#config.js'
import { hasDatabase } from '#nodes/coordinator/check-meta.js'
import { decodeNumber, encodeJson, encodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import { openStores } from '#open-stores.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

/** Etcd takes 128. */
const operationsTogether = 64
const termsAhead = 1000
const idsAhead = 1_000_000
/** The oracle leases some seconds; clocks of other machines may be a little ahead of this one. */
const aheadMs = 30_000
const behindSetting = 'sequences-behind'

const help = `elanus recover-meta

  Makes a lost meta store again, from its copy in the object store. The server, or every node of the cluster, must be stopped.
  Takes the settings of "elanus start" that say where things lie:

  --data DIR        data directory of a standalone server; an empty one will do where the three below are given (./data)
  --wal URL         as the nodes have it
  --meta URL        where the meta store is made; it must be empty
  --objects URL     as the nodes have it`

export async function recoverMeta(args: readonly string[]): Promise<void> {
  const parsed = parseConfig(args, process.env, {
    processorCount: availableParallelism(),
    memoryBytes: totalmem(),
  })
  if (parsed.kind === 'help') return print(help)
  const stores = await openStores(parsed.config, systemRuntime)
  try {
    const copy = await readCopy(stores.objects)
    await checkStopped(stores.meta)
    await clear(stores.meta)
    await write(stores.meta, operationsOf(copy))
    await write(stores.meta, [{ kind: 'delete', key: metaKeys.recovering }])
    const count = (prefix: string) =>
      [...copy.keys.keys()].filter((key) => key.startsWith(prefix)).length
    print(
      `The meta store is there again, as of ${new Date(copy.savedMs).toISOString()}: ${count(metaKeys.segmentPrefix)} segments, ` +
        `${count(metaKeys.setting('streaming/table/'))} tables. What came later is in the log: start the server.`,
    )
  } finally {
    await stores.close()
  }
}

async function checkStopped(meta: MetaStore): Promise<void> {
  if ((await meta.list(metaKeys.nodePrefix)).length > 0) {
    throw new ConfigError(
      'nodes of the cluster are running: stop them first (a killed one is gone after some seconds)',
    )
  }
  const isUnfinished = (await meta.get(metaKeys.recovering)) !== undefined
  if (!isUnfinished && (await hasDatabase(meta))) {
    throw new ConfigError('the meta store has a database: nothing was done')
  }
}

/** The mark first: from here on it is no database, whatever is in it. */
async function clear(meta: MetaStore): Promise<void> {
  const value = encodeJson({ since: new Date().toISOString() })
  await write(meta, [{ kind: 'put', key: metaKeys.recovering, value }])
  const left = (await meta.list('')).filter(({ key }) => key !== metaKeys.recovering)
  await write(
    meta,
    left.map(({ key }) => ({ kind: 'delete', key })),
  )
}

function operationsOf({ term, keys }: CopiedMeta): MetaOperation[] {
  const puts = new Map(keys)
  for (const [key, value] of keys) {
    if (key.startsWith(metaKeys.counter('')))
      puts.set(key, encodeNumber(decodeNumber(value) + idsAhead))
  }
  // Whoever was a leader then writes nothing that counts now.
  puts.set(metaKeys.term, encodeNumber(term + termsAhead))
  puts.set(metaKeys.oracleLimit, encodeNumber(timestampFrom(Date.now() + aheadMs, 0)))
  puts.set(metaKeys.setting(behindSetting), encodeJson(true))
  return [...puts].map(([key, value]) => ({ kind: 'put', key, value }))
}

async function write(meta: MetaStore, operations: readonly MetaOperation[]): Promise<void> {
  for (let at = 0; at < operations.length; at += operationsTogether) {
    await meta.write([], operations.slice(at, at + operationsTogether))
  }
}
