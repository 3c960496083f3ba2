/** The child process of the full disk test: its files may not grow over 1 MiB. */
import { writeSync } from 'node:fs'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'

const wal = await openEmbeddedWal(process.argv[2] ?? '', systemRuntime)
const writer = await wal.openWriter('c')
const print = (line: string) => writeSync(1, `${line}\n`)
const append = (size: number) => writer.append([new Uint8Array(size)])
const outcomeOf = (reason: unknown) => (reason instanceof StoreError ? reason.outcome : reason)

async function report(what: string, size: number): Promise<void> {
  try {
    await append(size)
    print(`${what} stored`)
  } catch (error) {
    const message = error instanceof Error ? error.message.replace(/"[^"]*\/c"/, '"c"') : ''
    print(`${what} ${outcomeOf(error)} ${message}`)
  }
}

await report('small', 1000)
await report('large', 2_000_000)
await report('small', 1000)
const settled = await Promise.allSettled([append(700_000), append(700_000)])
const outcomes = settled.map((each) =>
  each.status === 'rejected' ? outcomeOf(each.reason) : 'stored',
)
print(`two of one group ${outcomes.join(' ')}`)
await report('small', 1000)
await wal.close()
