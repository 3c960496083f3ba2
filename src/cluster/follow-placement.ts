/** Where sealed segments should be, as the leading coordinator told last: for every owner of a log channel in this process. */
import type { Runtime } from '#base/runtime.js'
import { followEntries } from '#cluster/follow-entries.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { decodeChunk, placementPrefix } from '#nodes/coordinator/segment-placement.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface FollowedPlacement {
  /** Now and after every change. @returns what ends it */
  follow(listener: (nodeIds: ReadonlyMap<number, readonly string[]>) => void): () => void
  stop(): Promise<void>
}

export function followPlacement(
  meta: MetaStore,
  runtime: Runtime,
  onError: (error: unknown) => void,
): FollowedPlacement {
  const prefix = metaKeys.setting(placementPrefix)
  const chunks = new Map<string, ReadonlyMap<number, readonly string[]>>()
  const listeners = new Set<(nodeIds: ReadonlyMap<number, readonly string[]>) => void>()
  let nodeIds: ReadonlyMap<number, readonly string[]> = new Map()
  const following = followEntries({
    meta,
    runtime,
    prefix,
    onEntry(key, value) {
      if (value === undefined) chunks.delete(key)
      else chunks.set(key, decodeChunk(new TextDecoder().decode(value)))
    },
    onSettled() {
      nodeIds = new Map([...chunks.values()].flatMap((chunk) => [...chunk]))
      for (const listener of listeners) listener(nodeIds)
    },
    onError,
  })
  return {
    follow(listener) {
      listeners.add(listener)
      listener(nodeIds)
      return () => void listeners.delete(listener)
    },
    stop: () => following.stop(),
  }
}
