import { StoreError } from '#base/errors.js'
import { fileNameBytesMax, objectNameBytesMax } from '#base/limits.js'

/**
 * Names that every adapter takes: parts separated by '/', each 1 to 255 bytes, not beginning with '.' (so no '..', no hidden
 * files of ours), without NUL and backslash. A name must not be a folder of another name ('a' and 'a/b').
 * @throws StoreError determinate
 */
export function checkObjectName(name: string): void {
  const isShort = Buffer.byteLength(name, 'utf8') <= objectNameBytesMax
  if (!isShort || /\p{Surrogate}/u.test(name) || !name.split('/').every(isPart)) {
    throw new StoreError('determinate', `invalid object name: "${name}"`)
  }
}

/** Whether a list of this prefix can have anything: all parts but the last are whole. */
export function mayBeginNames(prefix: string): boolean {
  return prefix.split('/').slice(0, -1).every(isPart)
}

function isPart(part: string): boolean {
  if (part === '' || part.startsWith('.')) return false
  if (part.includes('\0') || part.includes('\\')) return false
  return Buffer.byteLength(part, 'utf8') <= fileNameBytesMax
}
