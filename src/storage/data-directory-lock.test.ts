import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { startChild } from '#storage/child.conformance.js'
import { acquireDataDirectoryLock } from '#storage/data-directory-lock.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'

const holder = new URL('./hold-lock.conformance.ts', import.meta.url)

async function untilPrinted(child: ReturnType<typeof startChild>): Promise<string> {
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false }))
    return String(chunk).trim()
  return ''
}

test('one at a time, in the same process too', async () => {
  const scratch = await scratchDirectory()
  const directory = join(scratch.path, 'data')
  const lock = await acquireDataDirectoryLock(directory)
  await expect(acquireDataDirectoryLock(directory)).rejects.toThrow(
    `data directory is in use by process ${process.pid}`,
  )
  await lock.release()
  await lock.release()
  const again = await acquireDataDirectoryLock(directory)
  expect(await readdir(directory)).toEqual(['elanus.pid'])
  await again.release()
  expect(await readdir(directory)).toEqual([])
  await scratch.remove()
})

test('another process is named; when it was killed its lock is taken over', async () => {
  const scratch = await scratchDirectory()
  const child = startChild(holder, [scratch.path])
  expect(await untilPrinted(child)).toBe('held')
  await expect(acquireDataDirectoryLock(scratch.path)).rejects.toThrow(
    `data directory is in use by process ${child.pid}`,
  )
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exited
  const lock = await acquireDataDirectoryLock(scratch.path)
  await lock.release()
  await scratch.remove()
})

test.each([
  ['a process that is gone', '999999999\n1\nboot\n'],
  ['another process that has the number now', '1\n999999999\nboot\n'],
  ['this process number in an earlier container', `${process.pid}\n1\nboot\n`],
  ['an empty file', ''],
])('the lock of %s is taken over', async (_, content) => {
  const scratch = await scratchDirectory()
  await writeFile(join(scratch.path, 'elanus.pid'), content)
  const lock = await acquireDataDirectoryLock(scratch.path)
  expect(await readFile(join(scratch.path, 'elanus.pid'), 'utf8')).toMatch(`${process.pid}\n`)
  await lock.release()
  await scratch.remove()
})

test('of several processes that find a stale lock one gets it', async () => {
  const scratch = await scratchDirectory()
  await mkdir(scratch.path, { recursive: true })
  await writeFile(join(scratch.path, 'elanus.pid'), '999999999\n1\nboot\n')
  const children = [1, 2, 3].map(() => startChild(holder, [scratch.path]))
  const answers = await Promise.all(children.map(untilPrinted))
  expect(answers.filter((answer) => answer === 'held')).toHaveLength(1)
  for (const child of children) child.kill('SIGKILL')
  await systemRuntime.sleep(20)
  await scratch.remove()
})
