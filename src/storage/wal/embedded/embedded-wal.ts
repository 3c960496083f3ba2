import { join } from 'node:path'
import { Gate } from '#base/async/gate.js'
import { StoreError } from '#base/errors.js'
import { fileNameBytesMax, logFileBytesTarget } from '#base/limits.js'
import type { Runtime } from '#base/runtime.js'
import { makeDirectory } from '#storage/durable-files.js'
import { LogChannel, type LogChannelOptions } from '#storage/wal/embedded/log-channel.js'
import { readLog } from '#storage/wal/embedded/read-log.js'
import type { LogPosition, LogRecord, Wal, WalWriter } from '#storage/wal/wal.js'

export interface EmbeddedWalOptions {
  /** Bytes after which the next log file is begun. */
  readonly fileBytesTarget?: number
}

/**
 * The log in local files: `directory/<log channel>/<first position>.log` (docs/adr/2026-11-21-embedded-log.md says why not
 * LMDB). One process at a time: the caller holds the data directory's lock. Positions are 0, 1, 2 …
 * Payloads given to append must not change until it resolves.
 */
export async function openEmbeddedWal(
  directory: string,
  runtime: Runtime,
  options: EmbeddedWalOptions = {},
): Promise<Wal> {
  await makeDirectory(directory)
  const channelOptions: LogChannelOptions = {
    fileBytesTarget: options.fileBytesTarget ?? logFileBytesTarget,
    newSalt: () => Buffer.from(runtime.randomBytes(4)).readUInt32LE(0),
  }
  return new EmbeddedWal(directory, channelOptions)
}

class EmbeddedWal implements Wal {
  readonly #directory: string
  readonly #options: LogChannelOptions
  readonly #channels = new Map<string, Promise<LogChannel>>()
  readonly #gate = new Gate()
  #closed = false

  constructor(directory: string, options: LogChannelOptions) {
    this.#directory = directory
    this.#options = options
  }

  async openWriter(logChannel: string): Promise<WalWriter> {
    return await this.#inside(async () => {
      const channel = await this.#channel(logChannel)
      return new EmbeddedWalWriter(channel, await channel.openTerm())
    })
  }

  async *read(logChannel: string, from: LogPosition): AsyncIterable<readonly LogRecord[]> {
    const channel = await this.#channel(logChannel)
    yield* readLog(channel, from)
  }

  async endPosition(logChannel: string): Promise<LogPosition> {
    const channel = await this.#channel(logChannel)
    return channel.endPosition
  }

  async truncate(logChannel: string, before: LogPosition): Promise<void> {
    await this.#inside(async () => (await this.#channel(logChannel)).truncate(before))
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#gate.close()
    const channels = await Promise.allSettled(this.#channels.values())
    for (const opened of channels) {
      if (opened.status === 'fulfilled') await opened.value.close()
    }
  }

  async #inside<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#gate.enter()) throw new StoreError('determinate', 'the log is closed')
    try {
      return await work()
    } finally {
      this.#gate.leave()
    }
  }

  #channel(logChannel: string): Promise<LogChannel> {
    if (this.#closed) return Promise.reject(new StoreError('determinate', 'the log is closed'))
    const opened = this.#channels.get(logChannel)
    if (opened !== undefined) return opened
    const opening = this.#openChannel(logChannel)
    this.#channels.set(logChannel, opening)
    // A channel that could not be opened is tried again by the next caller.
    opening.catch(() => this.#channels.delete(logChannel))
    return opening
  }

  async #openChannel(logChannel: string): Promise<LogChannel> {
    const name = encodeURIComponent(logChannel).replaceAll('.', '%2E')
    if (name === '' || name.length > fileNameBytesMax) {
      throw new StoreError('determinate', `invalid name of a log channel: "${logChannel}"`)
    }
    const path = join(this.#directory, name)
    await makeDirectory(path)
    return await LogChannel.open(path, this.#options)
  }
}

class EmbeddedWalWriter implements WalWriter {
  readonly term: number
  readonly #channel: LogChannel
  readonly #gate = new Gate()

  constructor(channel: LogChannel, term: number) {
    this.#channel = channel
    this.term = term
  }

  async append(payloads: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    if (!this.#gate.enter()) throw new StoreError('determinate', 'the log writer is closed')
    try {
      return await this.#channel.append(this.term, payloads)
    } finally {
      this.#gate.leave()
    }
  }

  /** Waits for the appends under way. */
  async close(): Promise<void> {
    await this.#gate.close()
  }
}
