import { type BackupManifest, objectsOf, storedName } from '#cli/backup/backup-manifest.js'
import { verifyObject } from '#cli/backup/copy-objects.js'
import { ProgressBar } from '#cli/print.js'
import type { ObjectStore } from '#storage/objects/objects.js'

/** Reads every object of the backup. @throws Error naming all that are missing or damaged */
export async function verifyBackup(store: ObjectStore, manifest: BackupManifest): Promise<void> {
  const objects = objectsOf(manifest)
  const total = objects.reduce((sum, { bytes }) => sum + bytes, 0)
  const bar = new ProgressBar('verifying', total, 'bytes')
  const defects: string[] = []
  let done = 0
  for (const object of objects) {
    await verifyObject(store, { ...object, name: storedName(object.name) }).catch(
      (error: unknown) => {
        defects.push(error instanceof Error ? error.message : String(error))
      },
    )
    done += object.bytes
    bar.update(done)
  }
  bar.finish()
  if (defects.length > 0) throw new Error(defects.join('\n'))
}
