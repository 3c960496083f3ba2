/**
 * One embedded PostgreSQL inside this thread: bytes of the frontend protocol in, bytes of the backend protocol out,
 * synchronously. Runs in a worker (instance-worker.ts); the stack of the thread must be large.
 */
import { PGlite } from '@electric-sql/pglite'
import { InvariantError } from '#base/errors.js'
import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages } from '#net/pgwire/backend-parse.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { parseErrorResponse } from '#net/pgwire/error-response.js'
import { writeQuery } from '#net/pgwire/frontend-encode.js'
import { readDataFiles } from '#postgres/data-files.js'
import { growFilesInSteps } from '#postgres/memory-files.js'
import { type BundleFile, decodeBundle } from '#postgres/snapshot-bundle.js'
import { dataDirectory, type InstanceKind, startParameters } from '#postgres/start-options.js'
import { memoryOf, openHooks, type WasmHooks } from '#postgres/wasm-hooks.js'

/** The instance can answer no more: it must be thrown away with its thread. */
export class InstanceDeadError extends Error {
  constructor(cause?: unknown) {
    super('embedded PostgreSQL gave no answer', { cause })
    this.name = 'InstanceDeadError'
  }
}

export interface Embedded {
  /** Whole messages in, whole messages out; the answer is the caller's. @throws InstanceDeadError */
  exchange(messages: Uint8Array): Uint8Array
  /** Simple query of one or more statements, answer unread. @throws DatabaseError the first error */
  run(sql: string): Uint8Array
  /** First column of every row in text format. @throws DatabaseError */
  column(sql: string): (string | null)[]
  readonly hooks: WasmHooks
  /** Bytes of the instance's memory; it never shrinks. */
  memoryBytes(): number
  /** All that is committed, for another instance to start from. Outside a transaction. */
  dataFiles(): BundleFile[]
}

/**
 * @param snapshot contents of the bundle; may be shared between threads, is copied
 * @param image bundle of another instance's dataFiles(), to start from in place of the snapshot's
 */
export async function openEmbedded(
  kind: InstanceKind,
  snapshot: Uint8Array,
  compiled: WebAssembly.Module,
  image?: Uint8Array,
): Promise<Embedded> {
  const pg = await PGlite.create({
    fs: filesFrom(() => startFiles(snapshot, image)),
    pgliteWasmModule: compiled,
    startParams: startParameters(),
  })
  // PGlite keeps every message unless it streams: installed once, every answer goes through here.
  const answer = new AnswerBuffer()
  await pg.execProtocolRawStream(queryMessage('SET SESSION AUTHORIZATION postgres'), {
    syncToFs: false,
    onRawData: (bytes) => answer.append(bytes),
  })
  answer.take()

  let hooks: WasmHooks | undefined
  const exchange = (messages: Uint8Array): Uint8Array => {
    try {
      pg.execProtocolRawSync(messages)
    } catch (error) {
      throw new InstanceDeadError(error)
    }
    if (hooks?.fatal !== undefined) throw new InstanceDeadError(hooks.fatal)
    const bytes = answer.take()
    // Every exchange ends with Sync or a simple query: 'Z', length 5, status.
    if (bytes.length < 6 || bytes[bytes.length - 6] !== BackendType.readyForQuery) {
      throw new InstanceDeadError()
    }
    return bytes
  }
  const run = (sql: string): Uint8Array => {
    const bytes = exchange(queryMessage(sql))
    throwFirstError(bytes)
    return bytes
  }
  hooks = openHooks(pg.Module, (sql) => firstColumn(run(sql)))
  if (kind === 'evaluator') hooks.hideIndexes()
  return {
    exchange,
    run,
    column: (sql) => firstColumn(run(sql)),
    hooks,
    memoryBytes: () => memoryOf(pg.Module).length,
    dataFiles: () => {
      // Pages that have changed are in the files from here on; whoever starts from them replays no WAL.
      run('CHECKPOINT')
      const [first, last] = firstColumn(
        run(`SELECT unnest(ARRAY[pg_walfile_name(redo_lsn), pg_walfile_name(pg_current_wal_insert_lsn())])
             FROM pg_control_checkpoint()`),
      )
      // Others are kept for reuse only.
      const isSpareWal = (path: string): boolean =>
        path.startsWith(walSegments) &&
        (path < `${walDirectory}${first}` || path > `${walDirectory}${last}`)
      return readDataFiles(pg.Module.FS).filter(({ path }) => !isSpareWal(path))
    },
  }
}

const walDirectory = `${dataDirectory}/pg_wal/`
/** They are named by hexadecimal digits, the first of which are the timeline's. */
const walSegments = `${walDirectory}0`

function startFiles(snapshot: Uint8Array, image: Uint8Array | undefined): BundleFile[] {
  const files = decodeBundle(snapshot)
  if (image === undefined) return files
  const others = files.filter(
    ({ path }) => path !== dataDirectory && !path.startsWith(`${dataDirectory}/`),
  )
  return [...decodeBundle(image), ...others]
}

/** PGlite's file system port: everything in memory, filled before the start. */
function filesFrom(files: () => readonly BundleFile[]): NonNullable<
  ConstructorParameters<typeof PGlite>[0]
> extends {
  fs?: infer F
}
  ? NonNullable<F>
  : never {
  let pg: PGlite | undefined
  const nothing = async (): Promise<void> => {}
  return {
    init: async (instance, emscriptenOpts) => {
      pg = instance
      return { emscriptenOpts }
    },
    initialSyncFs: async () => {
      if (pg === undefined) throw new InvariantError('embedded-files', 'no instance')
      const fs = pg.Module.FS
      growFilesInSteps(fs)
      for (const { path, content } of files()) {
        if (content === undefined) {
          fs.mkdirTree(path, 0o700)
          continue
        }
        const directory = path.slice(0, path.lastIndexOf('/'))
        if (!fs.analyzePath(directory).exists) fs.mkdirTree(directory)
        // A copy of its own, and no Buffer: emscripten takes slice() for one, and Buffer's is a view of shared memory.
        fs.writeFile(path, new Uint8Array(content), { canOwn: true })
      }
    },
    syncToFs: nothing,
    closeFs: nothing,
    dumpTar: () => Promise.reject(new InvariantError('embedded-files', 'not dumped')),
  }
}

/** Grows with the answer and is kept up to a bound, so that small answers allocate once. */
class AnswerBuffer {
  #bytes = Buffer.allocUnsafeSlow(keptAnswerBytes)
  #length = 0

  append(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#length)
      this.#bytes = grown
    }
    this.#bytes.set(bytes, this.#length)
    this.#length = needed
  }

  /** A copy, or the buffer itself if it had grown. */
  take(): Uint8Array {
    const length = this.#length
    this.#length = 0
    if (this.#bytes.length > keptAnswerBytes) {
      const taken = this.#bytes.subarray(0, length)
      this.#bytes = Buffer.allocUnsafeSlow(keptAnswerBytes)
      return taken
    }
    const copy = Buffer.allocUnsafeSlow(length)
    this.#bytes.copy(copy, 0, 0, length)
    return copy
  }
}
const keptAnswerBytes = 1 << 20

export function queryMessage(sql: string): Uint8Array {
  const writer = new ByteWriter(sql.length + 64)
  writeQuery(writer, sql)
  return writer.view()
}

/** @throws DatabaseError as the first ErrorResponse says */
export function throwFirstError(answer: Uint8Array): void {
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    if (messages.type === BackendType.errorResponse) throw parseErrorResponse(messages.payload())
  }
}

/** Text of the first column of every DataRow in an answer. */
export function firstColumn(answer: Uint8Array): (string | null)[] {
  const out: (string | null)[] = []
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    if (messages.type !== BackendType.dataRow) continue
    const payload = messages.payload()
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    const length = bytes.readInt32BE(2)
    out.push(length < 0 ? null : bytes.toString('utf8', 6, 6 + length))
  }
  return out
}
