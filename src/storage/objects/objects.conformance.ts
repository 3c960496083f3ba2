/** What every object store must do; run by each adapter's tests. */
import { open as openFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface ObjectsUnderTest {
  readonly objects: ObjectStore
  /** Closes the store and opens it again with what is durable. */
  reopen(): Promise<ObjectStore>
  /** The same store as another process sees it, at the same time; absent where there is one process only. */
  readonly another?: () => ObjectStore
  /** Where the test may write files for putFile. */
  readonly filesDirectory: string
  cleanup(): Promise<void>
}

type Scenario = (title: string, run: (under: ObjectsUnderTest) => Promise<void>) => void

const text = (value: string) => new Uint8Array(Buffer.from(value, 'utf8'))

async function listAll(objects: ObjectStore, prefix: string) {
  const found: { readonly name: string; readonly size: number }[] = []
  for await (const entry of objects.list(prefix)) found.push(entry)
  return found
}

export function objectsConformance(name: string, open: () => Promise<ObjectsUnderTest>): void {
  const scenario: Scenario = (title, run) =>
    test(title, async () => {
      const under = await open()
      try {
        await run(under)
      } finally {
        await under.cleanup()
      }
    })

  describe(`${name} is an object store`, () => {
    putting(scenario)
    getting(scenario)
    naming(scenario)
    listing(scenario)
    racing(scenario)
    holding(scenario)
    closing(scenario)
  })
}

function putting(scenario: Scenario): void {
  scenario('what is put is got, also after reopening', async ({ objects, reopen }) => {
    expect(await objects.get('a/b')).toBeUndefined()
    expect(await objects.put('a/b', text('one'))).toBe('stored')
    expect(await objects.put('empty', text(''))).toBe('stored')
    expect(await objects.get('a/b')).toEqual(text('one'))
    const again = await reopen()
    expect(await again.get('a/b')).toEqual(text('one'))
    expect(await again.get('empty')).toEqual(text(''))
  })

  scenario('the bytes are copied', async ({ objects }) => {
    const bytes = Buffer.from('before')
    await objects.put('a', bytes)
    bytes.fill(0)
    expect(await objects.get('a')).toEqual(text('before'))
  })

  scenario('putting again replaces, unless it must be absent', async ({ objects }) => {
    await objects.put('a/b', text('one'))
    expect(await objects.put('a/b', text('two'))).toBe('stored')
    expect(await objects.put('a/b', text('three'), { ifAbsent: true })).toBe('exists')
    expect(await objects.get('a/b')).toEqual(text('two'))
    expect(await objects.put('a/c', text('four'), { ifAbsent: true })).toBe('stored')
    expect(await objects.get('a/c')).toEqual(text('four'))
  })

  scenario('a local file is stored', async ({ objects, filesDirectory }) => {
    const path = join(filesDirectory, 'index.bin')
    await writeFile(path, 'from a file')
    await objects.putFile('indexes/1', path)
    expect(await objects.get('indexes/1')).toEqual(text('from a file'))
    await writeFile(path, 'another')
    await objects.putFile('indexes/1', path)
    expect(await objects.get('indexes/1')).toEqual(text('another'))
  })

  scenario('deleting is idempotent', async ({ objects }) => {
    await objects.put('a/b/c', text('one'))
    await objects.delete('a/b/c')
    await objects.delete('a/b/c')
    await objects.delete('never/was')
    expect(await objects.get('a/b/c')).toBeUndefined()
    expect(await listAll(objects, '')).toEqual([])
    await objects.put('a/b', text('now an object'))
    expect(await objects.get('a/b')).toEqual(text('now an object'))
  })
}

function getting(scenario: Scenario): void {
  scenario('ranges', async ({ objects }) => {
    await objects.put('a', text('0123456789'))
    expect(await objects.getRange('a', 3, 4)).toEqual(text('3456'))
    expect(await objects.getRange('a', 0, 10)).toEqual(text('0123456789'))
    expect(await objects.getRange('a', 8, 10)).toEqual(text('89'))
    expect(await objects.getRange('a', 20, 10)).toEqual(text(''))
    expect(await objects.getRange('a', 5, 0)).toEqual(text(''))
    expect(await objects.getRange('b', 0, 1)).toBeUndefined()
  })

  scenario('a local path holds the bytes', async ({ objects }) => {
    await objects.put('a/b', text('mapped'))
    const path = await objects.localPath('a/b')
    expect(path === undefined ? undefined : await readFile(path, 'utf8')).toBe('mapped')
    expect(await objects.localPath('a/c')).toBeUndefined()
  })

  scenario('a folder is not an object', async ({ objects }) => {
    await objects.put('a/b', text('x'))
    expect(await objects.get('a')).toBeUndefined()
    expect(await objects.getRange('a', 0, 1)).toBeUndefined()
    expect(await objects.localPath('a')).toBeUndefined()
    expect(await objects.get('a/b/c')).toBeUndefined()
  })
}

function holding(scenario: Scenario): void {
  scenario('what is got is a copy', async ({ objects }) => {
    await objects.put('a', text('stays'))
    for (const read of [() => objects.get('a'), () => objects.getRange('a', 0, 5)]) {
      const got = await read()
      got?.fill(0)
      expect(await objects.get('a')).toEqual(text('stays'))
    }
  })

  scenario(
    'who has the local file open keeps its bytes when the object is replaced or deleted',
    async ({ objects }) => {
      await objects.put('a/b', text('first'))
      const path = await objects.localPath('a/b')
      const handle = await openFile(path ?? '')
      try {
        await objects.put('a/b', text('second, and longer'))
        expect((await handle.readFile()).toString()).toBe('first')
        const later = await objects.localPath('a/b')
        expect(await readFile(later ?? '', 'utf8')).toBe('second, and longer')
        await objects.delete('a/b')
        expect(await objects.localPath('a/b')).toBeUndefined()
        const { buffer } = await handle.read(Buffer.alloc(5), 0, 5, 0)
        expect(buffer.toString()).toBe('first')
      } finally {
        await handle.close()
      }
    },
  )

  scenario('a big object, and any range of it', async ({ objects, reopen, filesDirectory }) => {
    const big = new Uint8Array(9_000_000)
    for (let i = 0; i < big.length; i += 1) big[i] = (i * 2_654_435_761) >>> 24
    const path = join(filesDirectory, 'big')
    await writeFile(path, big)
    await objects.putFile('big/file', path)
    await objects.put('big/bytes', big)
    const again = await reopen()
    for (const name of ['big/bytes', 'big/file']) {
      expect(Buffer.compare((await again.get(name)) ?? text(''), big)).toBe(0)
      const range = await again.getRange(name, 8_999_990, 100)
      expect(range).toEqual(big.slice(8_999_990))
    }
    expect((await listAll(again, 'big/')).map(({ size }) => size)).toEqual([big.length, big.length])
  })

  scenario('a list names what is there from its beginning to its end', async ({ objects }) => {
    const stays = Array.from({ length: 40 }, (_, n) => `s/${n % 4}/${String(n).padStart(2, '0')}`)
    for (const name of stays) await objects.put(name, text(name))
    let isDone = false
    const changing = (async () => {
      for (let n = 0; !isDone; n += 1) {
        await setImmediate()
        const name = `s/${n % 5}/x${n % 7}`
        await objects.put(name, text('x'))
        await objects.delete(name)
      }
    })()
    try {
      for (let round = 0; round < 15; round += 1) {
        const names = (await listAll(objects, 's/')).map(({ name }) => name)
        expect(names).toEqual([...new Set(names)])
        expect(names.filter((name) => !name.includes('x')).sort()).toEqual([...stays].sort())
      }
    } finally {
      isDone = true
      await changing
    }
  })

  scenario('what is acknowledged here is seen elsewhere at once', async ({ objects, another }) => {
    if (another === undefined) return
    const other = another()
    await objects.put('a', text('1'))
    expect(await other.get('a')).toEqual(text('1'))
    expect(await other.put('a', text('2'), { ifAbsent: true })).toBe('exists')
    await other.delete('a')
    expect(await objects.get('a')).toBeUndefined()
    expect(await listAll(objects, '')).toEqual([])
  })
}

function closing(scenario: Scenario): void {
  scenario('a file that is not there is a failure that did nothing', async (under) => {
    const { objects, filesDirectory } = under
    await objects.put('a', text('before'))
    const failed = objects.putFile('a', join(filesDirectory, 'missing'))
    await expect(failed).rejects.toMatchObject({ outcome: 'determinate' })
    expect(await objects.get('a')).toEqual(text('before'))
  })

  scenario('closed means closed; what was under way is done', async ({ objects, reopen }) => {
    const last = objects.put('last', text('x'))
    await objects.close()
    const [settled] = await Promise.allSettled([last])
    const isClosed = { outcome: 'determinate' }
    await expect(objects.put('a', text('x'))).rejects.toMatchObject(isClosed)
    await expect(objects.delete('a')).rejects.toMatchObject(isClosed)
    await expect(objects.get('last')).rejects.toMatchObject(isClosed)
    await expect(listAll(objects, '')).rejects.toMatchObject(isClosed)
    const found = await (await reopen()).get('last')
    expect(found !== undefined).toBe(settled?.status === 'fulfilled')
  })
}

function naming(scenario: Scenario): void {
  scenario('names that lead elsewhere are refused', async ({ objects }) => {
    const refused = [
      '',
      '/',
      '/etc/passwd',
      '..',
      '../x',
      'a/../../x',
      'a//b',
      'a/',
      './a',
      '.tmp/1',
    ]
    const odd = ['a\\b', 'a\u0000b', 'x'.repeat(300), `${'a/'.repeat(600)}b`, '\ud800']
    for (const name of [...refused, ...odd]) {
      await expect(objects.put(name, text('x')), name).rejects.toBeInstanceOf(StoreError)
      await expect(objects.get(name), name).rejects.toBeInstanceOf(StoreError)
      await expect(objects.delete(name), name).rejects.toBeInstanceOf(StoreError)
      await expect(objects.getRange(name, 0, 1), name).rejects.toBeInstanceOf(StoreError)
      await expect(objects.localPath(name), name).rejects.toBeInstanceOf(StoreError)
    }
    expect(await listAll(objects, '')).toEqual([])
    expect(await listAll(objects, '../')).toEqual([])
  })

  scenario('names may hold anything else', async ({ objects }) => {
    const names = ['a b', 'ä/ö', 'x:y', '%2e%2e', 'a..b', '\u{1f600}', "it's", 'CON']
    for (const name of names) await objects.put(name, text(name))
    for (const name of names) expect(await objects.get(name)).toEqual(text(name))
  })
}

function listing(scenario: Scenario): void {
  scenario('a prefix lists its names in byte order', async ({ objects }) => {
    const names = [
      'a.b',
      'a/b',
      'a/b0',
      'a/c/d',
      'a/c.d',
      'a0',
      'b',
      'a/\u{1f600}',
      'a/\uff5e',
      'a-b',
    ]
    for (const name of names) await objects.put(name, text(name))
    const byteOrder = (left: string, right: string) =>
      Buffer.compare(Buffer.from(left), Buffer.from(right))
    for (const prefix of ['', 'a', 'a/', 'a/c', 'a/c/', 'a/b', 'a/b0', 'zz', 'a/x/']) {
      const wanted = names.filter((name) => name.startsWith(prefix)).sort(byteOrder)
      const found = await listAll(objects, prefix)
      expect(found).toEqual(wanted.map((name) => ({ name, size: text(name).length })))
    }
  })
}

function racing(scenario: Scenario): void {
  scenario('OBJ-2: a reader sees a whole object or none', async ({ objects }) => {
    const size = 300_000
    const writing = (async () => {
      for (let n = 1; n <= 20; n += 1) await objects.put('hot', new Uint8Array(size).fill(n))
    })()
    let isDone = false
    const ended = writing.finally(() => {
      isDone = true
    })
    while (!isDone) {
      const bytes = await objects.get('hot')
      if (bytes === undefined) continue
      expect(bytes.length).toBe(size)
      expect(bytes.every((byte) => byte === bytes[0])).toBe(true)
    }
    await ended
  })

  scenario('of many who put if absent one stores', async ({ objects }) => {
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, n) => objects.put('one/x', text(`${n}`), { ifAbsent: true })),
    )
    expect(outcomes.filter((outcome) => outcome === 'stored')).toHaveLength(1)
    const winner = outcomes.indexOf('stored')
    expect(await objects.get('one/x')).toEqual(text(`${winner}`))
  })

  scenario('puts and deletes of neighbours do not disturb each other', async ({ objects }) => {
    await Promise.all(
      Array.from({ length: 6 }, async (_, n) => {
        for (let round = 0; round < 15; round += 1) {
          const name = `deep/er/${n % 2}/${n}`
          await objects.put(name, text(name))
          expect(await objects.get(name)).toEqual(text(name))
          await objects.delete(name)
        }
      }),
    )
    expect(await listAll(objects, '')).toEqual([])
  })

  scenario('any names are listed as sorted', async ({ objects }) => {
    const part = fc.string({
      unit: fc.constantFrom('a', 'b', '-', '0', '~', 'é'),
      minLength: 1,
      maxLength: 3,
    })
    const name = fc.tuple(part, part, part).map((parts) => parts.join('/'))
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { maxLength: 12 }), async (names) => {
        for (const each of names) await objects.put(each, text(each))
        const found = (await listAll(objects, '')).map((entry) => Buffer.from(entry.name))
        expect(found).toEqual([...found].sort(Buffer.compare))
        expect(found.map(String).sort()).toEqual([...names].sort())
        for (const each of names) await objects.delete(each)
      }),
      { numRuns: 10 },
    )
  })
}
