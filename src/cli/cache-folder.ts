import { fileURLToPath } from 'node:url'

/** .cache of this clone: what can be fetched or computed again. The same from src/ and from dist/. */
export const cacheFolder = fileURLToPath(new URL('../../.cache', import.meta.url))
