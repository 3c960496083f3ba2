/**
 * The meta store in etcd. A write is one transaction; a key's revision is etcd's mod_revision.
 *
 * Writes of one store go one after the other, so that they happen in the order of the calls; a watch takes its turn among
 * them: it begins behind the revision that etcd has then.
 * etcd bounds a transaction by --max-txn-ops (128 unless set) and --max-request-bytes (1.5 MiB unless set): for a cluster both
 * are set higher (scripts/services.mjs); what is refused for its size has not happened.
 *
 * A write is sent once: sent again after its answer was lost it would find its own first attempt and call it a conflict. Reads
 * are tried again. Nobody waits for a circuit breaker or a backoff of the client's: whoever calls knows how long it can wait.
 * A connection on which nothing comes back is found by pings, or a watch would be silent for ever.
 */
import {
  Etcd3,
  EtcdLeaseInvalidError,
  GRPCInvalidArgumentError,
  type IKeyValue,
  type IOptions,
  type IRequestOp,
  isRecoverableError,
} from 'etcd3'
import { AsyncQueue } from '#base/async/async-queue.js'
import { Mutex } from '#base/async/mutex.js'
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { checkMetaWrite } from '#storage/meta/check-write.js'
import type {
  MetaCondition,
  MetaEntry,
  MetaLease,
  MetaOperation,
  MetaOutcome,
  MetaStore,
} from '#storage/meta/meta.js'

export interface EtcdMetaOptions {
  /** host:port */
  readonly endpoints: readonly string[]
  /** Of all keys: several databases may share an etcd. */
  readonly prefix: string
}

type Change = MetaEntry | { readonly key: string; readonly deleted: true }

const requestTimeoutMs = 5000
/** Keys of one page: values are up to 1 MiB. */
const pageKeyCount = 128
const readAgainMs = 100
/**
 * etcd hangs up on who pings more often than every five seconds (--grpc-keepalive-min-time), or while no call is under way: a
 * watch is one.
 */
const pingAfterMs = 7000
const pingTimeoutMs = 3000

type FaultHandling = NonNullable<IOptions['faultHandling']>
type Policy = NonNullable<FaultHandling['global']>
type Backoff = NonNullable<FaultHandling['watchBackoff']>

/** The client's default tries three times, and lets nothing through for five seconds after three failures. */
const noPolicy = {
  execute: async (work: (context: { signal: AbortSignal }) => unknown) =>
    await work({ signal: new AbortController().signal }),
} as unknown as Policy
/** Of watches; the client's default grows to half a minute. */
const watchBackoff: Backoff = { duration: 300, next: () => watchBackoff }

/** Connects when it is first needed. */
export function openEtcdMeta({ endpoints, prefix }: EtcdMetaOptions, runtime: Runtime): MetaStore {
  const client = new Etcd3({
    hosts: endpoints.map((endpoint) => `http://${endpoint}`),
    dialTimeout: requestTimeoutMs,
    grpcOptions: {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': pingAfterMs,
      'grpc.keepalive_timeout_ms': pingTimeoutMs,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      // After a failure the client makes a new channel: with a connection of its own, not the one that hangs.
      'grpc.use_local_subchannel_pool': 1,
    },
    faultHandling: { global: noPolicy, host: () => noPolicy, watchBackoff },
    defaultCallOptions: ({ isStream }) =>
      isStream ? {} : { deadline: runtime.nowMs() + requestTimeoutMs },
  })
  return new EtcdMeta(client, prefix === '' ? '' : `${prefix}/`, runtime)
}

class EtcdMeta implements MetaStore {
  readonly #client: Etcd3
  readonly #prefix: string
  readonly #runtime: Runtime
  readonly #turns = new Mutex()
  readonly #watches = new Set<AsyncQueue<Change>>()
  #closed = false

  constructor(client: Etcd3, prefix: string, runtime: Runtime) {
    this.#client = client
    this.#prefix = prefix
    this.#runtime = runtime
  }

  get(key: string): Promise<MetaEntry | undefined> {
    return this.#reading(async () => {
      const { kvs } = await this.#client.kv.range({ key: this.#name(key) })
      const [found] = kvs
      return found === undefined ? undefined : this.#entry(found)
    })
  }

  /** One revision over all pages. */
  list(prefix: string): Promise<readonly MetaEntry[]> {
    return this.#reading(async () => {
      const entries: MetaEntry[] = []
      let key = this.#name(prefix)
      const end = endOf(key)
      let revision: string | undefined
      for (;;) {
        const page = await this.#client.kv.range({
          key,
          range_end: end,
          limit: pageKeyCount,
          ...(revision === undefined ? {} : { revision }),
        })
        revision ??= page.header.revision
        entries.push(...page.kvs.map((found) => this.#entry(found)))
        const last = page.kvs.at(-1)
        if (!page.more || last === undefined) return entries
        key = Buffer.concat([last.key, Buffer.of(0)])
      }
    })
  }

  async write(
    conditions: readonly MetaCondition[],
    operations: readonly MetaOperation[],
  ): Promise<MetaOutcome> {
    checkMetaWrite(conditions, operations)
    // Copied in the step of the call.
    const success = operations.map((operation) => this.#request(operation))
    return await this.#turns.run(async () => {
      this.#checkOpen()
      try {
        const { succeeded, header } = await this.#client.kv.txn({
          compare: conditions.map(({ key, revision }) => ({
            key: this.#name(key),
            result: 'Equal',
            target: 'Mod',
            mod_revision: revision,
          })),
          success,
        })
        return succeeded
          ? { kind: 'done', revision: Number(header.revision) }
          : { kind: 'conflict' }
      } catch (error) {
        const refused =
          error instanceof GRPCInvalidArgumentError || error instanceof EtcdLeaseInvalidError
        throw storeError(refused ? 'determinate' : 'indeterminate', 'write', error)
      }
    })
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    const queue = new AsyncQueue<Change>()
    if (signal.aborted || this.#closed) {
      queue.close()
      return queue.drain()
    }
    this.#watches.add(queue)
    const stop = () => {
      this.#watches.delete(queue)
      queue.close()
    }
    signal.addEventListener('abort', stop, { once: true })
    this.#turns
      .run(() => this.#begin(prefix, queue, signal))
      .catch((reason: unknown) => {
        this.#watches.delete(queue)
        queue.close({ reason: storeError('determinate', 'watch', reason) })
      })
    return queue.drain()
  }

  async #begin(prefix: string, queue: AsyncQueue<Change>, signal: AbortSignal): Promise<void> {
    const key = this.#name(prefix)
    const { header } = await this.#client.kv.range({ key, count_only: true })
    if (signal.aborted || this.#closed) return
    const watcher = await this.#client
      .watch()
      .prefix(key)
      .startRevision(String(Number(header.revision) + 1))
      .create()
    watcher.on('data', ({ events }) => {
      for (const { type, kv } of events) {
        queue.push(
          type === 'Delete' ? { key: this.#keyOf(kv.key), deleted: true } : this.#entry(kv),
        )
      }
    })
    // etcd has compacted what the watch has not seen: the reader lists again.
    watcher.on('error', (reason: unknown) => {
      queue.close({ reason: storeError('determinate', 'watch', reason) })
    })
    const cancel = () => watcher.cancel().catch(() => {})
    if (signal.aborted) await cancel()
    else signal.addEventListener('abort', cancel, { once: true })
  }

  async grantLease(ttlMs: number): Promise<MetaLease> {
    this.#checkOpen()
    const lease = this.#client.lease(Math.ceil(ttlMs / 1000), { autoKeepAlive: false })
    try {
      const id = await lease.grant()
      return {
        id,
        keepAlive: async () => {
          try {
            // In time to try again. Without a deadline it would wait for an answer for ever.
            await lease.keepaliveOnce({ deadline: this.#runtime.nowMs() + ttlMs / 2 })
            return true
          } catch (error) {
            if (error instanceof EtcdLeaseInvalidError) return false
            throw storeError('indeterminate', 'keep a lease in', error)
          }
        },
        revoke: async () => {
          try {
            // In turn: a watch that began before sees its keys go.
            await this.#turns.run(() => lease.revoke())
          } catch (error) {
            if (error instanceof EtcdLeaseInvalidError) return
            throw storeError('indeterminate', 'revoke a lease in', error)
          }
        },
      }
    } catch (error) {
      throw storeError('indeterminate', 'grant a lease in', error)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const queue of this.#watches) queue.close()
    this.#watches.clear()
    await this.#turns.run(async () => this.#client.close())
  }

  #request(operation: MetaOperation): IRequestOp {
    const key = this.#name(operation.key)
    if (operation.kind === 'delete') return { request_delete_range: { key } }
    const { lease } = operation
    const value = Buffer.from(operation.value)
    return { request_put: { key, value, ...(lease === undefined ? {} : { lease }) } }
  }

  async #reading<T>(work: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#runtime.monotonicMs() + requestTimeoutMs
    for (;;) {
      this.#checkOpen()
      try {
        return await work()
      } catch (error) {
        const isOver = this.#runtime.monotonicMs() >= deadlineMs
        if (isOver || !(error instanceof Error) || !isRecoverableError(error)) {
          throw storeError('determinate', 'read', error)
        }
      }
      await this.#runtime.sleep(readAgainMs)
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreError('determinate', 'the meta store is closed')
  }

  #name(key: string): Buffer {
    return Buffer.from(`${this.#prefix}${key}`)
  }

  #keyOf(name: Buffer): string {
    return name.toString('utf8').slice(this.#prefix.length)
  }

  #entry({ key, value, mod_revision: revision }: IKeyValue): MetaEntry {
    return { key: this.#keyOf(key), value: new Uint8Array(value), revision: Number(revision) }
  }
}

/** The first key that does not begin with it; a zero byte means: to the end. */
function endOf(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  for (let at = end.length - 1; at >= 0; at -= 1) {
    const byte = end[at] ?? 0xff
    if (byte < 0xff) {
      end[at] = byte + 1
      return end.subarray(0, at + 1)
    }
  }
  return Buffer.of(0)
}

function storeError(
  outcome: 'determinate' | 'indeterminate',
  verb: string,
  error: unknown,
): StoreError {
  if (error instanceof StoreError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new StoreError(outcome, `could not ${verb} the meta store: ${reason}`, error)
}
