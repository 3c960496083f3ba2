/**
 * What the embedded log does on this machine's disk: `node --import tsx --conditions=source <this file> [directory]`.
 * Every figure with its fdatasync. docs/adr/2026-11-21-embedded-log.md quotes them.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemRuntime } from '#base/system-runtime.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import type { Wal, WalWriter } from '#storage/wal/wal.js'

const { monotonicMs } = systemRuntime
const print = (line: string) => process.stdout.write(`${line}\n`)
const at = (sorted: readonly number[], part: number) =>
  (sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(2)

async function measureAppends(to: WalWriter, bytes: number, loops: number, count: number) {
  const payload = systemRuntime.randomBytes(bytes)
  const latencies: number[] = []
  const startMs = monotonicMs()
  await Promise.all(
    Array.from({ length: loops }, async () => {
      for (let n = 0; n < count; n += 1) {
        const before = monotonicMs()
        await to.append([payload])
        latencies.push(monotonicMs() - before)
      }
    }),
  )
  const seconds = (monotonicMs() - startMs) / 1000
  latencies.sort((a, b) => a - b)
  const rate = (loops * count) / seconds
  print(
    `append ${bytes} bytes, ${loops} at a time: p50 ${at(latencies, 0.5)} ms, p99 ${at(latencies, 0.99)} ms, ` +
      `${rate.toFixed(0)}/s, ${((rate * bytes) / 1e6).toFixed(0)} MB/s`,
  )
}

async function measureRead(from: Wal): Promise<void> {
  const startMs = monotonicMs()
  let bytes = 0
  for await (const batch of from.read('bench', 0)) {
    for (const { payload } of batch) bytes += payload.length
  }
  const seconds = (monotonicMs() - startMs) / 1000
  print(`read ${(bytes / 1e6).toFixed(0)} MB: ${(bytes / 1e6 / seconds).toFixed(0)} MB/s`)
}

const directory = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'elanus-log-'))
const wal = await openEmbeddedWal(directory, systemRuntime)
const writer = await wal.openWriter('bench')
await measureAppends(writer, 200, 1, 1000)
await measureAppends(writer, 200, 16, 300)
await measureAppends(writer, 1 << 20, 1, 100)
await measureAppends(writer, 4 << 20, 1, 60)
await measureAppends(writer, 4 << 20, 4, 15)
await measureAppends(writer, 8 << 20, 1, 30)
await measureRead(wal)
await measureRead(wal)
const start = monotonicMs()
await wal.truncate('bench', await wal.endPosition('bench'))
print(`truncate: ${(monotonicMs() - start).toFixed(0)} ms`)
await wal.close()
await rm(directory, { recursive: true })
