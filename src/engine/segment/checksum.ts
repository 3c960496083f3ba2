/** CRC-32 (zlib's) of objects: the log's checksum too, because Node has it in native code at some 5 GB/s. */
import { crc32 } from 'node:zlib'

/** A slice takes a fraction of a millisecond; between slices others run. */
export const checksumSliceBytes = 1024 * 1024

export class Checksum {
  #value = 0

  add(bytes: Uint8Array): void {
    this.#value = crc32(bytes, this.#value)
  }

  /** 8 hex digits. */
  finish(): string {
    return this.#value.toString(16).padStart(8, '0')
  }
}

export function checksumOf(bytes: Uint8Array): string {
  const checksum = new Checksum()
  checksum.add(bytes)
  return checksum.finish()
}

/** The same in slices, awaiting `pause` now and then. */
export async function checksumSliced(
  bytes: Uint8Array,
  pause: () => Promise<void>,
): Promise<string> {
  const checksum = new Checksum()
  // Some 2 ms of work between pauses.
  const pauseEvery = 8
  let slices = 0
  for (let at = 0; at < bytes.byteLength; at += checksumSliceBytes) {
    checksum.add(bytes.subarray(at, at + checksumSliceBytes))
    slices += 1
    if (slices % pauseEvery === 0) await pause()
  }
  return checksum.finish()
}
