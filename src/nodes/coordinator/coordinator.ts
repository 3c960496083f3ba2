/** The coordinator over the meta store. Two of them may be open by mistake: the later one wins, the other's writes fail. */
import type { Runtime } from '#base/runtime.js'
import { checkMeta } from '#nodes/coordinator/check-meta.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { createCounters } from '#nodes/coordinator/counters.js'
import { openDdlLog } from '#nodes/coordinator/ddl-log.js'
import { openFencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { listNodes } from '#nodes/coordinator/membership.js'
import { copiesMeta } from '#nodes/coordinator/meta-copy.js'
import { decodeNumber, encodeNumber, metaKeys } from '#nodes/coordinator/meta-keys.js'
import { createOwners } from '#nodes/coordinator/owners.js'
import { openSegmentRegistry } from '#nodes/coordinator/segment-registry.js'
import { createTimestampOracle } from '#nodes/coordinator/timestamp-oracle.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface CoordinatorOptions {
  /** Closed by whoever opened it. */
  readonly meta: MetaStore
  /** Closed by whoever opened it. With it a copy of the meta store is kept there. */
  readonly objects?: ObjectStore | undefined
  readonly runtime: Runtime
  /**
   * 'exclusive': the meta store lets nobody else be coordinator (the data directory's lock). 'elected': there may be a later
   * one at any time, and nothing is said that the store has not confirmed to be the newest's word.
   */
  readonly leadership?: 'exclusive' | 'elected' | undefined
}

/** @throws StoreError */
export async function openCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { meta, objects, runtime } = options
  const isElected = options.leadership === 'elected'
  if (objects !== undefined) await checkMeta(meta, objects)
  const ownFenced = await openFencedMeta(meta)
  const copy = objects === undefined ? undefined : copiesMeta(ownFenced, meta, objects, runtime)
  const fenced = copy?.fenced ?? ownFenced
  const limit = await meta.get(metaKeys.oracleLimit)
  const oracle = createTimestampOracle(
    runtime,
    limit === undefined ? 0 : decodeNumber(limit.value),
    (wanted) =>
      fenced.write([{ kind: 'put', key: metaKeys.oracleLimit, value: encodeNumber(wanted) }]),
  )
  const ddl = await openDdlLog(meta, fenced)
  const owners = createOwners(meta, fenced)
  const segments = await openSegmentRegistry(meta, fenced, owners)
  const counters = createCounters(meta, fenced)

  /** What is remembered is what the newest coordinator knows. */
  async function current(): Promise<void> {
    if (isElected) await fenced.confirm()
    await fenced.settled()
  }

  return {
    async timestamp(above) {
      if (isElected) await fenced.confirm()
      return await oracle.next(above)
    },
    timestampNow: () => (isElected ? undefined : oracle.now()),
    async ddlLog() {
      await current()
      return ddl.entries()
    },
    async appendDdl(expectedVersion, entries, appendId) {
      const isAppended = await ddl.append(expectedVersion, entries, appendId)
      // A deposed coordinator's log may be too short.
      if (!isAppended) await current()
      else await copy?.save()
      return isAppended
    },
    async allocateSegmentIds(count) {
      const first = await counters.lease('segment-ids', count, 1)
      return Array.from({ length: count }, (_, i) => first + i)
    },
    leaseCounter: (name, count, floor) => counters.lease(`leased/${name}`, count, floor),
    async segments() {
      await current()
      return segments.segments()
    },
    async checkpoints() {
      await current()
      return segments.checkpoints()
    },
    switchSegments: (change) => segments.switch(change),
    async getSetting(key) {
      return (await meta.get(metaKeys.setting(key)))?.value
    },
    async putSetting(key, value, by) {
      const name = metaKeys.setting(key)
      const operation: MetaOperation =
        value === undefined ? { kind: 'delete', key: name } : { kind: 'put', key: name, value }
      if (by === undefined) {
        await fenced.write([operation])
        return
      }
      await fenced.exclusively(async () => {
        const step = await owners.begin(by)
        if (step !== 'done') await fenced.write([operation, ...step])
      })
    },
    exchangeSetting: (key, found, value) =>
      fenced.exclusively(async () => {
        const name = metaKeys.setting(key)
        const present = (await meta.get(name))?.value
        if (!isSame(present, found)) return false
        await fenced.write([{ kind: 'put', key: name, value }])
        return true
      }),
    async listSettings(prefix) {
      const entries = await meta.list(metaKeys.setting(prefix))
      return entries.map(({ key, value }) => ({
        key: key.slice(metaKeys.settingPrefix.length),
        value,
      }))
    },
    logChannelOwner: (logChannel) => owners.owner(logChannel),
    setLogChannelOwner: (logChannel, found, next) => owners.replace(logChannel, found, next),
    async secure() {
      await copy?.save()
    },
    async nodes() {
      const [nodes, leader] = await Promise.all([listNodes(meta), meta.get(metaKeys.leader)])
      const id = leader === undefined ? undefined : new TextDecoder().decode(leader.value)
      return nodes.map((node) =>
        node.kind === 'coordinator' ? { ...node, isLeading: node.id === id } : node,
      )
    },
    async stop() {
      // Lets the write under way end; nothing is held beyond that.
      await fenced.exclusively(async () => {})
      await copy?.stop()
    },
  }
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}
