/** The log's writer of an owner that may be deposed: what the log then refuses is refused with 57P03. */
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { NotOwnerError, type Ownership } from '#nodes/streaming/ownership.js'
import type { WalWriter } from '#storage/wal/wal.js'

/** A take-over that has not been completed for so long has died on the way. */
const fencedMsMax = 1000

/**
 * @param logChannel of the writer
 * @param onFenced somebody has opened a later writer and never became owner: whoever is owner must open the log anew, or nobody
 *   could append any more. Not at once: it would take back what is being taken over.
 */
export function ownedWriter(
  logChannel: string,
  writer: WalWriter,
  ownership: Ownership,
  runtime: Runtime,
  onFenced: (error: StoreError) => void,
): WalWriter {
  let fencedSinceMs: number | undefined
  return {
    term: writer.term,
    async append(payloads) {
      try {
        return await writer.append(payloads)
      } catch (error) {
        if (!(error instanceof StoreError) || error.outcome !== 'determinate') throw error
        const deposed = await ownership.findDeposed()
        if (deposed !== undefined) throw new StoreError('determinate', deposed.message, deposed)
        if (error.message.startsWith('WAL-3')) {
          fencedSinceMs ??= runtime.monotonicMs()
          if (runtime.monotonicMs() - fencedSinceMs >= fencedMsMax) {
            // After the caller has heard that this append has not happened.
            void runtime.sleep(0).then(() => onFenced(error))
          }
          // It is being taken over: whoever asks again finds the next owner, or this one.
          throw new StoreError('determinate', error.message, new NotOwnerError(logChannel))
        }
        throw error
      }
    },
    close: () => writer.close(),
  }
}
