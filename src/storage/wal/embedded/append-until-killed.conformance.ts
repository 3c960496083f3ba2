/**
 * The child process of the crash tests: waits for a line on standard input, then appends from several loops at once until it is
 * killed; prints `loop sequence position` for every acknowledged append.
 * Arguments: directory, number of the round.
 */
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { systemRuntime } from '#base/system-runtime.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import { patterned } from '#storage/wal/pattern.conformance.js'

const [directory = '', round = ''] = process.argv.slice(2)
await once(process.stdin, 'data')
const wal = await openEmbeddedWal(directory, systemRuntime, { fileBytesTarget: 500_000 })
const writer = await wal.openWriter('c')

async function appendForever(loop: number): Promise<void> {
  for (let sequence = 0; ; sequence += 1) {
    const recordCount = 1 + Math.floor(systemRuntime.random() * 4)
    const size =
      systemRuntime.random() < 0.1 ? 1_000_000 : Math.floor(systemRuntime.random() * 3000)
    const payloads = Array.from({ length: recordCount }, (_, ordinal) => {
      const head = { round: Number(round), loop, sequence, ordinal, recordCount, size }
      const body = patterned(size, sequence * 7 + ordinal)
      return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body])
    })
    const positions = await writer.append(payloads)
    writeSync(1, `${loop} ${sequence} ${positions[0]}\n`)
  }
}
await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(appendForever))
