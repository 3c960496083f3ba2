/**
 * Objects in S3, or any store that speaks it. A name is `<prefix>/<name>` as a key.
 *
 * put is atomic and durable by S3's own promise; `ifAbsent` is If-None-Match: *. The client repeats what failed or was not
 * answered; what still fails is indeterminate unless the store said that it did not do it (a 4xx).
 * Local paths: objects are copied to a cache directory when they are first asked for; a copy is complete or has another name.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Gate } from '#base/async/gate.js'
import { StoreError } from '#base/errors.js'
import { checkObjectName } from '#storage/objects/object-name.js'
import type { ObjectStore } from '#storage/objects/objects.js'

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
  readonly cacheDirectory: string
}

/** S3's smallest part is 5 MiB and a key has at most 10,000: files up to 640 GB. */
const partBytes = 64 * 1024 * 1024
const attemptsMax = 5
const requestTimeoutMs = 30_000
const connectionTimeoutMs = 5000

export async function openS3Objects(options: S3Options): Promise<ObjectStore> {
  const { endpoint, region, credentials } = options
  const client = new S3Client({
    region,
    maxAttempts: attemptsMax,
    requestHandler: { requestTimeout: requestTimeoutMs, connectionTimeout: connectionTimeoutMs },
    // Stores other than AWS often have no virtual hosts, and not all know the newer checksums.
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const cacheDirectory = resolve(options.cacheDirectory)
  await rm(join(cacheDirectory, temporaryName), { recursive: true, force: true })
  await mkdir(join(cacheDirectory, temporaryName), { recursive: true, mode: 0o700 })
  return new S3Objects(client, options.bucket, options.prefix, cacheDirectory)
}

const temporaryName = '.tmp'

class S3Objects implements ObjectStore {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #cache: string
  readonly #gate = new Gate()
  readonly #downloads = new Map<string, Promise<string | undefined>>()

  constructor(client: S3Client, bucket: string, prefix: string, cache: string) {
    this.#client = client
    this.#bucket = bucket
    this.#prefix = prefix === '' ? '' : `${prefix}/`
    this.#cache = cache
  }

  put(name: string, bytes: Uint8Array, options: { readonly ifAbsent?: boolean } = {}) {
    // Copied: the client may send it again later.
    const body = Buffer.from(bytes)
    return this.#inside(async (): Promise<'stored' | 'exists'> => {
      const target = this.#target(name)
      const condition = options.ifAbsent === true ? { IfNoneMatch: '*' } : {}
      for (;;) {
        try {
          await this.#client.send(new PutObjectCommand({ ...target, Body: body, ...condition }))
          await this.#forget(name)
          return 'stored'
        } catch (error) {
          if (options.ifAbsent === true && statusOf(error) === 412) return 'exists'
          // Another conditional write of the key was under way: S3 says to try again.
          if (options.ifAbsent === true && statusOf(error) === 409) continue
          throw failure('write', name, error)
        }
      }
    })
  }

  putFile(name: string, path: string): Promise<void> {
    return this.#inside(async () => {
      const target = this.#target(name)
      try {
        const { size } = await stat(path)
        if (size <= partBytes) {
          await this.#client.send(
            new PutObjectCommand({
              ...target,
              Body: createReadStream(path),
              ContentLength: size,
            }),
          )
        } else {
          await this.#putParts(target, path, size)
        }
        await this.#forget(name)
      } catch (error) {
        throw failure('write', name, error)
      }
    })
  }

  async #putParts(target: S3Target, path: string, size: number): Promise<void> {
    const { UploadId } = await this.#client.send(new CreateMultipartUploadCommand(target))
    const upload = { ...target, UploadId }
    const file = await open(path)
    try {
      const parts: { ETag: string | undefined; PartNumber: number }[] = []
      for (let at = 0; at < size; at += partBytes) {
        const body = Buffer.allocUnsafe(Math.min(partBytes, size - at))
        await file.read(body, 0, body.byteLength, at)
        const PartNumber = parts.length + 1
        const { ETag } = await this.#client.send(
          new UploadPartCommand({ ...upload, PartNumber, Body: body }),
        )
        parts.push({ ETag, PartNumber })
      }
      await this.#client.send(
        new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } }),
      )
    } catch (error) {
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => {})
      throw error
    } finally {
      await file.close()
    }
  }

  get(name: string): Promise<Uint8Array | undefined> {
    return this.#inside(async () => {
      const target = this.#target(name)
      try {
        const { Body } = await this.#client.send(new GetObjectCommand(target))
        return await Body?.transformToByteArray()
      } catch (error) {
        if (isAbsent(error)) return undefined
        throw failure('read', name, error)
      }
    })
  }

  getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined> {
    return this.#inside(async () => {
      const target = this.#target(name)
      // Nothing is no range in HTTP: of one byte, none is given.
      const last = offset + Math.max(length, 1) - 1
      try {
        const { Body } = await this.#client.send(
          new GetObjectCommand({ ...target, Range: `bytes=${offset}-${last}` }),
        )
        const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array()
        return bytes.subarray(0, length)
      } catch (error) {
        if (isAbsent(error)) return undefined
        if (statusOf(error) === 416) return new Uint8Array()
        throw failure('read', name, error)
      }
    })
  }

  localPath(name: string): Promise<string | undefined> {
    return this.#inside(async () => {
      const target = this.#target(name)
      const path = this.#cachePath(name)
      if (await isFile(path)) return path
      let download = this.#downloads.get(name)
      if (download === undefined) {
        download = this.#download(name, target, path).finally(() => this.#downloads.delete(name))
        this.#downloads.set(name, download)
      }
      return await download
    })
  }

  async #download(name: string, target: S3Target, path: string): Promise<string | undefined> {
    const temporary = join(this.#cache, temporaryName, randomUUID())
    try {
      const { Body } = await this.#client.send(new GetObjectCommand(target))
      if (!(Body instanceof Readable)) throw new Error('the answer has no body')
      await pipeline(Body, createWriteStream(temporary))
      await mkdir(dirname(path), { recursive: true })
      await rename(temporary, path)
      return path
    } catch (error) {
      await rm(temporary, { force: true })
      if (isAbsent(error)) return undefined
      throw failure('read', name, error)
    }
  }

  /** Names in byte order: S3 lists keys in the order of their UTF-8 bytes. */
  async *list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }> {
    let token: string | undefined
    do {
      const page = await this.#inside(async () => {
        try {
          return await this.#client.send(
            new ListObjectsV2Command({
              Bucket: this.#bucket,
              Prefix: `${this.#prefix}${prefix}`,
              ContinuationToken: token,
            }),
          )
        } catch (error) {
          throw failure('list', prefix, error)
        }
      })
      for (const { Key, Size } of page.Contents ?? []) {
        if (Key !== undefined) yield { name: Key.slice(this.#prefix.length), size: Size ?? 0 }
      }
      token = page.NextContinuationToken
    } while (token !== undefined)
  }

  delete(name: string): Promise<void> {
    return this.#inside(async () => {
      const target = this.#target(name)
      try {
        await this.#client.send(new DeleteObjectCommand(target))
        await this.#forget(name)
      } catch (error) {
        if (!isAbsent(error)) throw failure('delete', name, error)
      }
    })
  }

  async close(): Promise<void> {
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

  #target(name: string): S3Target {
    checkObjectName(name)
    return { Bucket: this.#bucket, Key: `${this.#prefix}${name}` }
  }

  /** Names of parts may be those of folders of the cache: files end in a character that no name of a folder has. */
  #cachePath(name: string): string {
    return join(this.#cache, `${name}\\`)
  }

  async #forget(name: string): Promise<void> {
    await rm(this.#cachePath(name), { force: true }).catch(() => {})
  }
}

interface S3Target {
  readonly Bucket: string
  readonly Key: string
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

function isAbsent(error: unknown): boolean {
  return (
    error instanceof S3ServiceException && (error.name === 'NoSuchKey' || error.name === 'NotFound')
  )
}

function failure(verb: string, name: string, error: unknown): StoreError {
  const status = statusOf(error)
  const refused = status !== undefined && status >= 400 && status < 500
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return new StoreError(
    refused || verb === 'read' || verb === 'list' ? 'determinate' : 'indeterminate',
    `could not ${verb} object "${name}": ${reason}`,
    error,
  )
}
