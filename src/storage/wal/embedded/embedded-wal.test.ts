import { systemRuntime } from '#base/system-runtime.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import { type WalUnderTest, walConformance } from '#storage/wal/wal.conformance.js'

async function open(fileBytesTarget?: number): Promise<WalUnderTest> {
  const scratch = await scratchDirectory()
  const options = fileBytesTarget === undefined ? {} : { fileBytesTarget }
  let wal = await openEmbeddedWal(scratch.path, systemRuntime, options)
  return {
    wal,
    reopen: async () => {
      await wal.close()
      wal = await openEmbeddedWal(scratch.path, systemRuntime, options)
      return wal
    },
    cleanup: async () => {
      await wal.close()
      await scratch.remove()
    },
  }
}

walConformance('the embedded log', () => open())
walConformance('the embedded log with small files', () => open(100_000))
