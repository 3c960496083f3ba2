/** A coordinator under observation: TS-1 where timestamps leave it, and what it records in the trace. */
import type { Timestamp } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { SimProcess } from './process.js'

export function watchCoordinator(coordinator: Coordinator, process: SimProcess): Coordinator {
  const { world } = process

  function check(at: Timestamp, before: number): void {
    if (!process.alive) return
    if (at <= before) {
      world.violate(
        'TS-1',
        `${process.name} hands out ${at}, ${before} had been handed out before it was asked for`,
      )
    }
    if (at > world.newestTimestamp) world.newestTimestamp = at
  }

  return {
    ...coordinator,
    async timestamp(...given) {
      const before = world.newestTimestamp
      const at = await coordinator.timestamp(...given)
      check(at, before)
      return at
    },
    timestampNow() {
      const before = world.newestTimestamp
      const at = coordinator.timestampNow()
      if (at !== undefined) check(at, before)
      return at
    },
    async switchSegments(change) {
      const added = change.add.map(
        ({ segmentId, tableId, shard, minRowId, maxRowId, deletes, indexes }) =>
          `${segmentId} (${tableId}/${shard} rows ${minRowId}..${maxRowId}${deletes === undefined ? '' : ', deletes'}${indexes.length === 0 ? '' : ', index'})`,
      )
      const what = `segments +[${added}] -[${change.remove}] checkpoints ${[...change.checkpoints].join(' ')}`
      world.say(process.name, `records ${what}`)
      await coordinator.switchSegments(change)
      world.count('segments recorded', change.add.length)
      if (change.remove.length > 0) world.count('segments merged or dropped', change.remove.length)
      if (change.add.some(({ indexes }) => indexes.length > 0)) world.count('index recorded')
      world.say(process.name, `has recorded ${what}`)
    },
  }
}
