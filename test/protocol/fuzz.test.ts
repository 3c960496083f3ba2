import { setTimeout as sleep } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'
import { expect, test } from 'vitest'
import { runFuzz } from './fuzz.js'
import { openToy } from './toy-session.js'

v8.setFlagsFromString('--expose-gc')
const collectGarbage: unknown = vm.runInNewContext('gc')

function heapBytes(): number {
  if (typeof collectGarbage === 'function') collectGarbage()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

test('a thousand malformed, truncated and vanishing clients harm nobody else and leave nothing behind', async () => {
  await using toy = await openToy({ connectionsMax: 500 })
  await runFuzz({ port: toy.port, iterations: 200, seed: 1, copyStatement: 'copy in' })
  const settled = async () => {
    for (let tries = 0; tries < 600 && toy.server.connectionCount > 0; tries += 1) await sleep(5)
    toy.log.statements.length = 0
    toy.log.failures.length = 0
    toy.log.copied.length = 0
    toy.log.requests.length = 0
    // Lingering sockets and lately freed buffers count for a moment: the least of several looks is what stays.
    let least = heapBytes()
    for (let look = 0; look < 8; look += 1) {
      await sleep(300)
      least = Math.min(least, heapBytes())
    }
    return least
  }
  const before = await settled()
  const report = await runFuzz({
    port: toy.port,
    iterations: 1000,
    seed: 42,
    copyStatement: 'copy in',
  })
  const after = await settled()
  expect(toy.server.connectionCount).toBe(0)
  expect(toy.log.open).toBe(0)
  expect(toy.log.internalErrors).toEqual([])
  expect(report.sqlStates.get('08P01')).toBeGreaterThan(50)
  expect(report.sqlStates.get('XX000')).toBeUndefined()
  expect(after - before).toBeLessThan(3e6)
})
