/** The log's writer of an owner that may be deposed: what the log then refuses is refused with 57P03. */
import { StoreError } from '#base/errors.js'
import type { Ownership } from '#nodes/streaming/ownership.js'
import type { WalWriter } from '#storage/wal/wal.js'

export function ownedWriter(writer: WalWriter, ownership: Ownership): WalWriter {
  return {
    term: writer.term,
    async append(payloads) {
      try {
        return await writer.append(payloads)
      } catch (error) {
        if (!(error instanceof StoreError) || error.outcome !== 'determinate') throw error
        const deposed = await ownership.findDeposed()
        if (deposed === undefined) throw error
        throw new StoreError('determinate', deposed.message, deposed)
      }
    },
    close: () => writer.close(),
  }
}
