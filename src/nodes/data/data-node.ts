/** The data node: holds what its jobs share; each job is a file of its own. */
import { Gate } from '#base/async/gate.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Native } from '#engine/index/native.js'
import { loadDeletes, type SegmentLoader } from '#engine/segment/load-sealed.js'
import { buildIndex } from '#nodes/data/build-index.js'
import { listSegmentObjects, removeObjects, removeSegment } from '#nodes/data/collect-objects.js'
import { compact } from '#nodes/data/compact.js'
import type { DataNode } from '#nodes/data/contract.js'
import { flush } from '#nodes/data/flush.js'
import type { Jobs } from '#nodes/data/jobs.js'
import { type LocalFiles, systemFiles } from '#nodes/data/local-files.js'
import { writeDeletes } from '#nodes/data/write-deletes.js'
import { temporaryPaths } from '#nodes/data/write-object.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface DataNodeOptions {
  readonly native: Native
  readonly objects: ObjectStore
  readonly runtime: Runtime
  /** For this node alone: emptied at start. On the object directory's file system a file is moved, not copied. */
  readonly temporaryDirectory: string
  /** Where temporary files go; default the file system. */
  readonly files?: LocalFiles | undefined
  /** Threads of an index build. */
  readonly threads: number
  /** Whether inputs of builds and merges are compared with their checksums first; default true. */
  readonly verifyChecksums?: boolean
}

/** Among the objects of one segment. */
const uniqueBytes = 8

export async function startDataNode(options: DataNodeOptions): Promise<DataNode> {
  const { native, objects, runtime, temporaryDirectory, threads } = options
  const files = options.files ?? systemFiles
  await files.emptyDirectory(temporaryDirectory)
  const pause = () => runtime.sleep(0)
  const verifyChecksums = options.verifyChecksums ?? true
  const loader: SegmentLoader = { native, objects, pause, verifyChecksums }
  const writer = {
    objects,
    files,
    temporaryPath: temporaryPaths(temporaryDirectory),
    unique: () => Buffer.from(runtime.randomBytes(uniqueBytes)).toString('hex'),
  }
  const jobs: Jobs = { native, loader, writer, pause, threads }
  const gate = new Gate()

  async function inside<T>(job: () => Promise<T>): Promise<T> {
    if (!gate.enter()) throw new DatabaseError(SqlState.adminShutdown, 'data node is stopping')
    try {
      return await job()
    } finally {
      gate.leave()
    }
  }

  return {
    flush: (segmentId, schema, rows, context, graphs) =>
      inside(() => flush(jobs, segmentId, schema, rows, context, graphs)),
    buildIndex: (manifest, schema, index, onProgress, context) =>
      inside(() => buildIndex(jobs, manifest, schema, index, onProgress, context)),
    compact: (segmentId, schema, inputs, context) =>
      inside(() => compact(jobs, segmentId, schema, inputs, context)),
    writeDeletes: (manifest, deletes, context) =>
      inside(() => writeDeletes(jobs, manifest, deletes, context)),
    listObjects: (context) => listSegmentObjects(objects, context),
    removeObjects: (names, context) => inside(() => removeObjects(objects, names, context)),
    removeSegment: (segment, context) => inside(() => removeSegment(objects, segment, context)),
    readDeletes: (manifest) => inside(() => loadDeletes(loader, manifest)),
    stop: () => gate.close(),
  }
}
