/** The child process of the lock's tests: takes the lock of the directory, says so, and holds it until it is killed. */
import { writeSync } from 'node:fs'
import { acquireDataDirectoryLock } from '#storage/data-directory-lock.js'

try {
  await acquireDataDirectoryLock(process.argv[2] ?? '')
  writeSync(1, 'held\n')
} catch (error) {
  writeSync(1, `${error instanceof Error ? error.message : error}\n`)
}
process.stdin.resume()
