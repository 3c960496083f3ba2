/** `npm run build`: the set-up alone. */
import { setUp } from './set-up.mjs'

try {
  await setUp()
} catch (error) {
  console.error(`\nelanus: ${error.message}`)
  process.exitCode = 1
}
