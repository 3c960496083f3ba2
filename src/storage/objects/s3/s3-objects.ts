/**
 * Objects in S3, or any store that speaks it. A name is `<prefix>/<name>` as a key. It has no local paths: a cache of copies is
 * opened over it (cached-objects.ts).
 *
 * put is atomic and durable by S3's own promise; `ifAbsent` is If-None-Match: *. What failed or was not answered is repeated
 * (s3-attempts.ts). A repeated request may meet what it has done itself before: every object carries the identifier of the put
 * that made it in its metadata (`elanus-put`), so that it is told from another's.
 * What is bigger than a part goes in parts; the object is there when the last request is done. Parts of an upload that was broken
 * off by a crash are seen by nobody and cost space: a lifecycle rule of the bucket removes them (AbortIncompleteMultipartUpload).
 */
import { open } from 'node:fs/promises'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Gate } from '#base/async/gate.js'
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { ioError } from '#storage/io-error.js'
import { checkObjectName, mayBeginNames } from '#storage/objects/object-name.js'
import type { RemoteObjects } from '#storage/objects/objects.js'
import { nameOf, repeat, statusOf } from '#storage/objects/s3/s3-attempts.js'

export interface S3Options {
  /** undefined: AWS, by region. */
  readonly endpoint: string | undefined
  readonly region: string
  readonly bucket: string
  /** Of all keys, without slashes at its ends; '' for none. */
  readonly prefix: string
  /** undefined: from the environment, as AWS' tools do. */
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: string }
    | undefined
  readonly runtime: Pick<Runtime, 'sleep' | 'random' | 'monotonicMs' | 'randomBytes'>
  /** Silence on a connection after which the request is repeated. */
  readonly idleMs?: number
}

/** S3's smallest part is 5 MiB, and an object has 10,000 at most: from 160 GB on parts are bigger. */
const partBytesMin = 16 * 1024 * 1024
const partCountMax = 10_000
/** Of one object at a time: bounds memory. */
const partsUnderWayMax = 3
const idleMsDefault = 20_000
const connectionTimeoutMs = 3000

/** @throws StoreError when the bucket cannot be read: unreachable, refused, not there */
export async function openS3Objects(options: S3Options): Promise<RemoteObjects> {
  const { endpoint, region, credentials, bucket } = options
  const client = new S3Client({
    region,
    maxAttempts: 1,
    requestHandler: {
      socketTimeout: options.idleMs ?? idleMsDefault,
      connectionTimeout: connectionTimeoutMs,
    },
    // Stores other than AWS often have no virtual hosts, and not all know the newer checksums.
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const objects = new S3Objects(client, options)
  try {
    await objects.check(`open bucket "${bucket}" at ${endpoint ?? `AWS, ${region}`}`)
  } catch (error) {
    client.destroy()
    throw error
  }
  return objects
}

class S3Objects implements RemoteObjects {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #runtime: S3Options['runtime']
  readonly #gate = new Gate()
  readonly #closing = new AbortController()

  constructor(client: S3Client, { bucket, prefix, runtime }: S3Options) {
    this.#client = client
    this.#bucket = bucket
    this.#prefix = prefix === '' ? '' : `${prefix}/`
    this.#runtime = runtime
  }

  async check(what: string): Promise<void> {
    const first = { Bucket: this.#bucket, Prefix: this.#prefix, MaxKeys: 1 }
    await this.#read(what, () => this.#client.send(new ListObjectsV2Command(first)))
  }

  put(name: string, bytes: Uint8Array, options: { readonly ifAbsent?: boolean } = {}) {
    // Copied: it may be sent again later.
    const body = Buffer.from(bytes)
    return this.#inside(async (): Promise<'stored' | 'exists'> => {
      const target = this.#target(name)
      if (options.ifAbsent === true) return await this.#putIfAbsent(name, target, body)
      const read = async (at: number, length: number) => body.subarray(at, at + length)
      await this.#putAll(name, target, body.byteLength, read)
      return 'stored'
    })
  }

  putFile(name: string, path: string): Promise<void> {
    return this.#inside(async () => {
      const target = this.#target(name)
      const unreadable = (error: unknown) =>
        ioError('determinate', `could not read file "${path}"`, error)
      const file = await open(path).catch((error: unknown) => Promise.reject(unreadable(error)))
      try {
        const { size } = await file.stat()
        const read = async (at: number, length: number) => {
          const body = Buffer.allocUnsafe(length)
          try {
            const { bytesRead } = await file.read(body, 0, length, at)
            if (bytesRead === length) return body
          } catch (error) {
            throw unreadable(error)
          }
          throw new StoreError('determinate', `file "${path}" changes while it is stored`)
        }
        await this.#putAll(name, target, size, read)
      } finally {
        await file.close()
      }
    })
  }

  async #putIfAbsent(name: string, target: Target, body: Buffer): Promise<'stored' | 'exists'> {
    const putId = this.#putId()
    return await this.#write(name, async (mayBeDone) => {
      try {
        await this.#client.send(
          new PutObjectCommand({
            ...target,
            Body: body,
            IfNoneMatch: '*',
            Metadata: { [putIdKey]: putId },
          }),
        )
        return 'stored'
      } catch (error) {
        if (statusOf(error) !== 412) throw error
        return mayBeDone && (await this.#isMadeBy(target, putId)) ? 'stored' : 'exists'
      }
    })
  }

  async #putAll(name: string, target: Target, size: number, read: ReadBody): Promise<void> {
    if (size > partBytesMin) return await this.#putParts(name, target, size, read)
    const body = await read(0, size)
    await this.#write(name, () =>
      this.#client.send(new PutObjectCommand({ ...target, Body: body })),
    )
  }

  async #putParts(name: string, target: Target, size: number, read: ReadBody): Promise<void> {
    const putId = this.#putId()
    const begin = new CreateMultipartUploadCommand({ ...target, Metadata: { [putIdKey]: putId } })
    const { UploadId } = await this.#write(name, () => this.#client.send(begin))
    const upload = { ...target, UploadId }
    try {
      const MultipartUpload = { Parts: await this.#sendParts(name, upload, size, read) }
      await this.#write(name, async (mayBeDone) => {
        try {
          await this.#client.send(
            new CompleteMultipartUploadCommand({ ...upload, MultipartUpload }),
          )
        } catch (error) {
          const isGone = mayBeDone && nameOf(error) === 'NoSuchUpload'
          if (!isGone || !(await this.#isMadeBy(target, putId))) throw error
        }
      })
    } catch (error) {
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {})
      throw error
    }
  }

  async #sendParts(name: string, upload: Upload, size: number, read: ReadBody): Promise<Part[]> {
    const partBytes = Math.max(partBytesMin, Math.ceil(size / partCountMax))
    const parts: Part[] = []
    let begun = 0
    const send = async () => {
      while (begun * partBytes < size) {
        const at = begun * partBytes
        begun += 1
        const PartNumber = begun
        const Body = await read(at, Math.min(partBytes, size - at))
        const part = new UploadPartCommand({ ...upload, PartNumber, Body })
        try {
          const { ETag } = await this.#write(name, () => this.#client.send(part))
          parts[PartNumber - 1] = { ETag, PartNumber }
        } catch (error) {
          // The others need not begin any more.
          begun = Number.POSITIVE_INFINITY
          // A part alone is not seen by anybody.
          throw error instanceof StoreError ? new StoreError('determinate', error.message) : error
        }
      }
    }
    const settled = await Promise.allSettled(Array.from({ length: partsUnderWayMax }, send))
    const failed = settled.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return parts
  }

  async #isMadeBy(target: Target, putId: string): Promise<boolean> {
    try {
      const { Metadata } = await this.#client.send(new HeadObjectCommand(target))
      return Metadata?.[putIdKey] === putId
    } catch (error) {
      // Deleted since: it was another's, ours is deleted by nobody who does not know of it.
      if (isAbsent(error)) return false
      throw error
    }
  }

  get(name: string): Promise<Uint8Array | undefined> {
    return this.#inside(async () => await this.#getBytes(name, {}))
  }

  getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined> {
    return this.#inside(async () => {
      // Nothing is no range in HTTP: of one byte, none is given.
      const last = offset + Math.max(length, 1) - 1
      const bytes = await this.#getBytes(name, { Range: `bytes=${offset}-${last}` })
      return bytes?.subarray(0, length)
    })
  }

  async #getBytes(name: string, range: { readonly Range?: string }) {
    const target = { ...this.#target(name), ...range }
    return await this.#read(`read object "${name}"`, async () => {
      try {
        const { Body } = await this.#client.send(new GetObjectCommand(target))
        return (await Body?.transformToByteArray()) ?? new Uint8Array()
      } catch (error) {
        if (isAbsent(error)) return undefined
        if (statusOf(error) === 416) return new Uint8Array()
        throw error
      }
    })
  }

  /** Names in byte order: S3 lists keys in the order of their UTF-8 bytes. */
  async *list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }> {
    let token: string | undefined
    do {
      const request = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: `${this.#prefix}${prefix}`,
        ContinuationToken: token,
      })
      const page = await this.#inside(async () => {
        if (!mayBeginNames(prefix)) return undefined
        return await this.#read(`list objects "${prefix}"`, () => this.#client.send(request))
      })
      for (const { Key, Size } of page?.Contents ?? []) {
        if (Key !== undefined) yield { name: Key.slice(this.#prefix.length), size: Size ?? 0 }
      }
      token = page?.NextContinuationToken
    } while (token !== undefined)
  }

  delete(name: string): Promise<void> {
    return this.#inside(async () => {
      const target = this.#target(name)
      const what = `delete object "${name}"`
      await this.#repeat(what, false, async () => {
        try {
          await this.#client.send(new DeleteObjectCommand(target))
        } catch (error) {
          if (!isAbsent(error)) throw error
        }
      })
    })
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#gate.close()
    this.#client.destroy()
  }

  async #inside<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#gate.enter()) throw new StoreError('determinate', 'the object store is closed')
    try {
      return await work()
    } finally {
      this.#gate.leave()
    }
  }

  #write<T>(name: string, attempt: (mayBeDone: boolean) => Promise<T>): Promise<T> {
    return this.#repeat(`write object "${name}"`, false, attempt)
  }

  #read<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    return this.#repeat(what, true, attempt)
  }

  #repeat<T>(what: string, isRead: boolean, attempt: (mayBeDone: boolean) => Promise<T>) {
    const closing = this.#closing.signal
    return repeat({ runtime: this.#runtime, closing, what, isRead }, attempt)
  }

  #target(name: string): Target {
    checkObjectName(name)
    return { Bucket: this.#bucket, Key: `${this.#prefix}${name}` }
  }

  #putId(): string {
    return Buffer.from(this.#runtime.randomBytes(16)).toString('hex')
  }
}

const putIdKey = 'elanus-put'

interface Target {
  readonly Bucket: string
  readonly Key: string
}

interface Upload extends Target {
  readonly UploadId: string | undefined
}

interface Part {
  readonly ETag: string | undefined
  readonly PartNumber: number
}

type ReadBody = (at: number, length: number) => Promise<Buffer>

function isAbsent(error: unknown): boolean {
  return statusOf(error) === 404 && (nameOf(error) === 'NoSuchKey' || nameOf(error) === 'NotFound')
}
