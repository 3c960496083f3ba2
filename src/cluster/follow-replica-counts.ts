/** WITH (replicas = n) of all tables, as storage has them: what the leading coordinator places segments by. */
import type { Runtime } from '#base/runtime.js'
import { followEntries } from '#cluster/follow-entries.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { decodeTable, tableSettingPrefix } from '#nodes/streaming/table-settings.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface FollowedReplicaCounts {
  /** By table; another map when anything has changed. undefined: not known yet. */
  current(): ReadonlyMap<number, number> | undefined
  stop(): Promise<void>
}

export function followReplicaCounts(
  meta: MetaStore,
  runtime: Runtime,
  onError: (error: unknown) => void,
): FollowedReplicaCounts {
  const prefix = metaKeys.setting(tableSettingPrefix)
  let counts = new Map<number, number>()
  let isRead = false
  const following = followEntries({
    meta,
    runtime,
    prefix,
    onEntry(key, value) {
      const tableId = Number(key.slice(prefix.length))
      const wanted = value === undefined ? undefined : decodeTable(value).replicaCount
      if (counts.get(tableId) === wanted) return
      counts = new Map(counts)
      if (wanted === undefined) counts.delete(tableId)
      else counts.set(tableId, wanted)
    },
    onSettled() {
      isRead = true
    },
    onError,
  })
  return { current: () => (isRead ? counts : undefined), stop: () => following.stop() }
}
