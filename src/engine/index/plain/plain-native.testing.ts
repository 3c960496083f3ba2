/**
 * The native add-on in plain TypeScript, for the simulator, and as its judge: one thread, no disk, no randomness. What it
 * promises is done when it promises it, so it resolves in microtasks only. An index is exact search over what the index
 * remembers. Left out of the build, as all `*.testing.ts`.
 *
 * Codecs (COPY, result rows) are not here: only the proxy uses them. Float and vector text are engine/types' own twins.
 */
import { pgDistance } from '#engine/index/flat.js'
import type { Native, NativeIndex } from '#engine/index/native.js'
import { formatFloat4, formatFloat8 } from '#engine/types/float-text.js'
import { formatVectorText } from '#engine/types/vector-text.js'
import { checkDimensions } from './check-filter.testing.js'
import { nativeError } from './native-error.testing.js'
import { aggregatePlain } from './plain-aggregate.testing.js'
import { filterPlain } from './plain-filter.testing.js'
import { buildPlainIndex, loadPlainIndex, type PlainFiles } from './plain-index.testing.js'
import { PlainInterim } from './plain-interim.testing.js'
import { checkRequest } from './plain-request.testing.js'
import { searchPlain } from './plain-search.testing.js'
import { PlainSegment } from './plain-segment.testing.js'
import { topPlain } from './plain-top.testing.js'

function ownFiles(): PlainFiles {
  const files = new Map<string, Uint8Array>()
  return { get: (path) => files.get(path), put: (path, bytes) => void files.set(path, bytes) }
}

/** @param files where save() writes and loadHnsw() and mapFile() read; by default its own. */
export function createPlainNative(files: PlainFiles = ownFiles()): Native {
  return {
    simd: 'plain',
    createSegment: () => new PlainSegment(),
    createInterim: (options) => new PlainInterim(options, files),
    search: (request) => settled(checkRequest(request), (parts) => searchPlain(parts, request)),
    filter: (request) => settled(checkRequest(request), (parts) => filterPlain(parts, request)),
    top: (request) => {
      if (!(request.limit >= 0)) throw new RangeError('limit is out of range')
      return settled(checkRequest(request), (parts) => topPlain(parts, request))
    },
    aggregate: (request) =>
      settled(checkRequest(request), (parts) => aggregatePlain(parts, request)),
    async buildHnsw(options): Promise<NativeIndex> {
      const index = buildPlainIndex(options, files)
      if (options.rowCount > 0) options.onProgress?.(options.rowCount)
      await null
      if (options.signal?.aborted === true) {
        throw nativeError('57014', 'canceling statement due to user request')
      }
      return index
    },
    loadHnsw: async (path) => loadPlainIndex(path, files),
    distance(metric, a, b) {
      checkDimensions(a.length, b)
      return pgDistance(metric, a, b)
    },
    mapFile: (path) => {
      const bytes = files.get(path)
      if (bytes === undefined) {
        throw nativeError('58030', `could not open file "${path}": No such file or directory`)
      }
      // A copy, as private mappings are: what is written there is nobody else's.
      return new Uint8Array(bytes).buffer
    },
    releasePages: () => {},
    formatVector: formatVectorText,
    formatFloat4,
    formatFloat8,
    parseVector: codec,
    parseVectorInto: codec,
    parseFloat4: codec,
    parseCopyBinary: codec,
    parseCopyText: codec,
    encodeCopyBinary: codec,
    encodeDataRows: codec,
    encodeCopyText: codec,
    formatsText: codec,
  }
}

export const plainNative: Native = createPlainNative()

/** `work` is done now; its outcome is told in a microtask. */
function settled<T, R>(input: T, work: (input: T) => R): Promise<R> {
  try {
    return Promise.resolve(work(input))
  } catch (error) {
    return Promise.reject(error)
  }
}

function codec(): never {
  throw new Error('the plain add-on has no codecs: they are the business of the proxy')
}
