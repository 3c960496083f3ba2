/**
 * A meta store that is empty beside a copy of one was lost: whoever began anew there would take rows for garbage. And one that is
 * half made again is no database.
 */
import { StoreError } from '#base/errors.js'
import { metaCopyPrefix } from '#nodes/coordinator/meta-copy.js'
import { logChannelsSetting, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaStore } from '#storage/meta/meta.js'
import type { ObjectStore } from '#storage/objects/objects.js'

/** @throws StoreError determinate */
export async function checkMeta(meta: MetaStore, objects: ObjectStore): Promise<void> {
  if ((await meta.get(metaKeys.recovering)) !== undefined) {
    throw lost('the meta store is recovered only in part')
  }
  if (await hasDatabase(meta)) return
  for await (const _ of objects.list(metaCopyPrefix)) {
    throw lost('the meta store is empty, but the object store has a database')
  }
}

export async function hasDatabase(meta: MetaStore): Promise<boolean> {
  if ((await meta.get(metaKeys.setting(logChannelsSetting))) !== undefined) return true
  return (await meta.list(metaKeys.ddlPrefix)).length > 0
}

function lost(what: string): StoreError {
  return new StoreError('determinate', `${what}: run "elanus recover-meta" with the same settings`)
}
