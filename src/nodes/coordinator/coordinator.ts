/** The coordinator over the meta store. Two of them may be open by mistake: the later one wins, the other's writes fail. */
import type { Runtime } from '#base/runtime.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { createCounters } from '#nodes/coordinator/counters.js'
import { openDdlLog } from '#nodes/coordinator/ddl-log.js'
import { openFencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { decodeNumber, encodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import { openSegmentRegistry } from '#nodes/coordinator/segment-registry.js'
import { createTimestampOracle } from '#nodes/coordinator/timestamp-oracle.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface CoordinatorOptions {
  /** Closed by whoever opened it. */
  readonly meta: MetaStore
  readonly runtime: Runtime
}

/** @throws StoreError */
export async function openCoordinator({ meta, runtime }: CoordinatorOptions): Promise<Coordinator> {
  const fenced = await openFencedMeta(meta)
  const limit = await meta.get(metaKeys.oracleLimit)
  const oracle = createTimestampOracle(
    runtime,
    limit === undefined ? 0 : decodeNumber(limit.value),
    (wanted) =>
      fenced.write([{ kind: 'put', key: metaKeys.oracleLimit, value: encodeNumber(wanted) }]),
  )
  const ddl = await openDdlLog(meta, fenced)
  const segments = await openSegmentRegistry(meta, fenced)
  const counters = createCounters(meta, fenced)

  return {
    timestamp: () => oracle.next(),
    timestampNow: () => oracle.now(),
    ddlLog: async () => ddl.entries(),
    appendDdl: (expectedVersion, entries) => ddl.append(expectedVersion, entries),
    async allocateSegmentIds(count) {
      const first = await counters.lease('segment-ids', count, 1)
      return Array.from({ length: count }, (_, i) => first + i)
    },
    leaseCounter: (name, count, floor) => counters.lease(`leased/${name}`, count, floor),
    segments: async () => segments.segments(),
    checkpoints: async () => segments.checkpoints(),
    switchSegments: (change) => segments.switch(change),
    async getSetting(key) {
      return (await meta.get(metaKeys.setting(key)))?.value
    },
    async putSetting(key, value) {
      const name = metaKeys.setting(key)
      await fenced.write([
        value === undefined ? { kind: 'delete', key: name } : { kind: 'put', key: name, value },
      ])
    },
    async listSettings(prefix) {
      const entries = await meta.list(metaKeys.setting(prefix))
      return entries.map(({ key, value }) => ({
        key: key.slice(metaKeys.settingPrefix.length),
        value,
      }))
    },
    async stop() {
      // Lets the write under way end; nothing is held beyond that.
      await fenced.exclusively(async () => {})
    },
  }
}
