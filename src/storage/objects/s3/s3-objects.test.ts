import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { openCachedObjects } from '#storage/objects/cache/cached-objects.js'
import { objectsConformance } from '#storage/objects/objects.conformance.js'
import { openS3Objects, type S3Options } from '#storage/objects/s3/s3-objects.js'
import { openTroubledS3, type Trouble } from '#storage/objects/s3/troubled-s3-fixture.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { openObjectWal } from '#storage/wal/objects/object-wal.js'
import { walConformance } from '#storage/wal/wal.conformance.js'

/** http://key:secret@host:port/bucket */
const store = process.env['ELANUS_TEST_S3']

function optionsOf(url: URL): S3Options {
  return {
    endpoint: url.origin,
    region: 'us-east-1',
    bucket: url.pathname.slice(1),
    prefix: `test-${randomUUID()}`,
    credentials: { accessKeyId: url.username, secretAccessKey: url.password },
    runtime: systemRuntime,
  }
}

/** As a process has it: mapped from a cache of copies. */
async function openCached(options: S3Options, directory: string) {
  const remote = await openS3Objects(options)
  const cache = { objects: remote, directory, bytesMax: 100_000_000, runtime: systemRuntime }
  return await openCachedObjects(cache)
}

async function open(url: URL) {
  const scratch = await scratchDirectory()
  const filesDirectory = join(scratch.path, 'files')
  await mkdir(filesDirectory)
  const options = optionsOf(url)
  const directory = join(scratch.path, 'cache')
  let objects = await openCached(options, directory)
  const other = await openCached(options, join(scratch.path, 'other'))
  return {
    objects,
    another: () => other,
    filesDirectory,
    reopen: async () => {
      await objects.close()
      objects = await openCached(options, directory)
      return objects
    },
    cleanup: async () => {
      await Promise.all([objects.close(), other.close()])
      await scratch.remove()
    },
  }
}

async function openLog(url: URL) {
  const objects = await openS3Objects(optionsOf(url))
  let wal = openObjectWal(objects, 'log', systemRuntime)
  const others = [wal]
  return {
    wal,
    another: () => {
      const other = openObjectWal(objects, 'log', systemRuntime)
      others.push(other)
      return other
    },
    reopen: async () => {
      await wal.close()
      wal = openObjectWal(objects, 'log', systemRuntime)
      return wal
    },
    cleanup: async () => {
      await Promise.all([wal, ...others].map((each) => each.close()))
      await objects.close()
    },
  }
}

function patterned(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i += 1) bytes[i] = (i * 2_654_435_761) >>> 24
  return bytes
}

async function failureOf(work: Promise<unknown>): Promise<StoreError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof StoreError) return error
  throw new Error(`no StoreError: ${inspect(error)}`)
}

function s3(url: URL): void {
  test('an object of several parts, from a file and from memory, and with parts that fail', async () => {
    const scratch = await scratchDirectory()
    let failures = 0
    const troubled = await openTroubledS3(url, (method, requested) => {
      if (method !== 'PUT' || !requested.includes('partNumber=') || failures >= 4) return 'none'
      failures += 1
      return failures % 2 === 0 ? 'unavailable' : 'done-dropped'
    })
    const objects = await openS3Objects({ ...optionsOf(url), endpoint: troubled.endpoint })
    const big = patterned(40_000_000)
    const path = join(scratch.path, 'big')
    await writeFile(path, big)
    await objects.putFile('from/file', path)
    await objects.put('from/memory', big)
    for (const name of ['from/file', 'from/memory']) {
      expect(Buffer.compare((await objects.get(name)) ?? new Uint8Array(), big)).toBe(0)
    }
    const sent = troubled.seen.filter((request) => request.url.includes('partNumber='))
    expect(sent).toHaveLength(6 + 4)
    await objects.close()
    await troubled.close()
    await scratch.remove()
  })

  test('a list of more than a page', async () => {
    const objects = await openS3Objects(optionsOf(url))
    const names = Array.from({ length: 2100 }, (_, n) => `n/${String(n).padStart(5, '0')}`)
    const left = [...names]
    const putSome = async () => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        await objects.put(name, new Uint8Array(1))
      }
    }
    await Promise.all(Array.from({ length: 16 }, putSome))
    const found: string[] = []
    for await (const { name } of objects.list('n/')) found.push(name)
    expect(found).toEqual(names)
    await objects.close()
  })

  test.for<Trouble>(['unavailable', 'dropped', 'done-dropped', 'stalled', 'cut'])(
    'every request is %s twice: all is done, and put if absent knows its own',
    async (trouble) => {
      const counts = new Map<string, number>()
      const troubled = await openTroubledS3(url, (method, path) => {
        const key = `${method} ${path}`
        const count = (counts.get(key) ?? 0) + 1
        counts.set(key, count)
        return method !== 'HEAD' && count <= 2 ? trouble : 'none'
      })
      const options = { ...optionsOf(url), endpoint: troubled.endpoint, idleMs: 500 }
      const objects = await openS3Objects(options)
      const bytes = patterned(100_000)
      expect(await objects.put('once', bytes, { ifAbsent: true })).toBe('stored')
      expect(await objects.put('once', bytes.subarray(1), { ifAbsent: true })).toBe('exists')
      await objects.put('again', bytes)
      await objects.put('parts', patterned(17_000_000))
      expect(await objects.get('once')).toEqual(bytes)
      expect(await objects.getRange('again', 500, 1000)).toEqual(bytes.slice(500, 1500))
      await objects.delete('again')
      const found: string[] = []
      for await (const { name } of objects.list('')) found.push(name)
      expect(found).toEqual(['once', 'parts'])
      await objects.close()
      await troubled.close()
    },
  )

  test('of two who put if absent through lost answers one has stored', async () => {
    let count = 0
    const troubled = await openTroubledS3(url, (method) => {
      count += 1
      return method === 'PUT' && count % 3 !== 0 ? 'done-dropped' : 'none'
    })
    const objects = await openS3Objects({ ...optionsOf(url), endpoint: troubled.endpoint })
    for (let round = 0; round < 10; round += 1) {
      const puts = [1, 2].map((n) => objects.put(`r${round}`, Uint8Array.of(n), { ifAbsent: true }))
      const outcomes = await Promise.all(puts)
      expect([...outcomes].sort()).toEqual(['exists', 'stored'])
      expect(await objects.get(`r${round}`)).toEqual(Uint8Array.of(outcomes.indexOf('stored') + 1))
    }
    await objects.close()
    await troubled.close()
  })

  test('what cannot be reached, is not there or refuses says so, and names no secret', async () => {
    const options = optionsOf(url)
    const secret = 'a-secret-that-is-wrong'
    const wrongSecret = { accessKeyId: url.username, secretAccessKey: secret }
    const wrongKey = { accessKeyId: 'nobody', secretAccessKey: secret }
    const cases = [
      [{ bucket: 'there-is-none' }, /there is no such bucket/],
      [{ credentials: wrongSecret }, /refuses the credentials \(SignatureDoesNotMatch\)/],
      [{ credentials: wrongKey }, /refuses the credentials \(InvalidAccessKeyId\)/],
      [{ endpoint: 'http://127.0.0.1:1' }, /connect ECONNREFUSED 127.0.0.1:1/],
    ] as const
    for (const [changed, words] of cases) {
      const error = await failureOf(openS3Objects({ ...options, ...changed }))
      expect(error.message).toMatch(/^could not open bucket "/)
      expect(error.message).toMatch(words)
      expect(inspect(error, { depth: 9 })).not.toContain(secret)
      expect(inspect(error, { depth: 9 })).not.toContain('Signature=')
    }
  })

  test('a write that was never answered is indeterminate, one that never left is not', async () => {
    let isDown = false
    const troubled = await openTroubledS3(url, () => (isDown ? 'done-dropped' : 'none'))
    let ms = 0
    const runtime = {
      ...systemRuntime,
      monotonicMs: () => ms,
      sleep: async (pauseMs: number) => {
        ms += pauseMs
      },
    }
    const objects = await openS3Objects({
      ...optionsOf(url),
      endpoint: troubled.endpoint,
      runtime,
    })
    isDown = true
    expect((await failureOf(objects.put('a', Uint8Array.of(1)))).outcome).toBe('indeterminate')
    expect((await failureOf(objects.get('a'))).outcome).toBe('determinate')
    isDown = false
    expect(await objects.get('a')).toEqual(Uint8Array.of(1))
    await troubled.close()
    // A write over a connection that was open may have arrived; this read finds out that none is.
    expect((await failureOf(objects.get('a'))).outcome).toBe('determinate')
    expect((await failureOf(objects.put('b', Uint8Array.of(1)))).outcome).toBe('determinate')
    await objects.close()
  })
}

if (store === undefined) test.skip('no S3: ELANUS_TEST_S3 is not set')
else {
  const url = new URL(store)
  objectsConformance('the object store over S3', () => open(url))
  walConformance('the log over objects in S3', () => openLog(url))
  describe('S3', () => s3(url))
}
