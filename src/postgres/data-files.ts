/** The files of an instance's data directory, as it lies in Emscripten's file system. */
import type { BundleFile } from '#postgres/snapshot-bundle.js'
import { dataDirectory } from '#postgres/start-options.js'

interface FileSystem {
  readdir(path: string): string[]
  stat(path: string): { mode: number }
  isDir(mode: number): boolean
  readFile(path: string): Uint8Array
}

/** Without the lock file. @param fs FS of an Emscripten module; contents are copies */
export function readDataFiles(fs: unknown): BundleFile[] {
  const files: BundleFile[] = []
  collect(fs as FileSystem, dataDirectory, files)
  return files
}

function collect(fs: FileSystem, directory: string, files: BundleFile[]): void {
  files.push({ path: directory, content: undefined })
  for (const name of fs.readdir(directory)) {
    if (name === '.' || name === '..' || name === 'postmaster.pid') continue
    const path = `${directory}/${name}`
    // Template databases: nobody connects to them, they double the size.
    if (path === `${dataDirectory}/base/1` || path === `${dataDirectory}/base/4`) continue
    if (fs.isDir(fs.stat(path).mode)) collect(fs, path, files)
    else files.push({ path, content: fs.readFile(path) })
  }
}
