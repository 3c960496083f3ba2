/**
 * Emscripten's files in memory are copied whole whenever their size is set, and PostgreSQL extends a table by setting
 * it: loading 30 MB took seconds. With capacity to spare it is linear.
 */
interface MemoryFile {
  contents: Uint8Array
  usedBytes: number
}

interface MemoryFileSystem {
  resizeFileStorage(file: MemoryFile, size: number): void
}

// What an emptied file keeps for the next rows.
const keptBytes = 4 << 20
const growBytesMax = 32 << 20

/** @param fs FS of an Emscripten module */
export function growFilesInSteps(fs: unknown): void {
  const memory = (fs as { filesystems: { MEMFS: MemoryFileSystem } }).filesystems.MEMFS
  memory.resizeFileStorage = (file, size) => {
    const { contents, usedBytes } = file
    if (size === usedBytes) return
    if (size > contents.length) {
      const capacity = contents.length + Math.min(contents.length, growBytesMax)
      const grown = new Uint8Array(Math.max(size, capacity))
      grown.set(contents.subarray(0, usedBytes))
      file.contents = grown
    } else if (size > usedBytes) {
      contents.fill(0, usedBytes, size)
    } else if (contents.length > keptBytes && size < contents.length / 4) {
      file.contents = contents.slice(0, size)
    }
    file.usedBytes = size
  }
}
