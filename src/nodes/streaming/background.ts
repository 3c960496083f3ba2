/**
 * What a streaming node does by itself: one loop seals and moves the log's beginning, another builds indexes and merges, a
 * third extends the graphs of growing segments, a fourth deletes rows that have outlived their table's ttl, a fifth removes objects that nobody needs.
 * A failing step is tried again, later and later; the next success forgets it.
 */
import { backgroundContext, type Context } from '#base/context.js'
import { buildOne, lacksIndex } from '#nodes/streaming/build-index.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { sealDue, truncateLog } from '#nodes/streaming/checkpoint.js'
import { collect } from '#nodes/streaming/collect.js'
import { compactGroup } from '#nodes/streaming/compact.js'
import { groupsToCompact } from '#nodes/streaming/compaction-policy.js'
import { expire } from '#nodes/streaming/expire.js'
import type { Hurry } from '#nodes/streaming/hurry.js'
import { allChannels, removableUntil, type StreamingState } from '#nodes/streaming/state.js'
import type { Wal } from '#storage/wal/wal.js'

const backoffMsMax = 30_000

export interface Background {
  /** Lets the steps under way be cancelled and waits for them. */
  stop(): Promise<void>
}

export function startBackground(
  state: StreamingState,
  wal: Wal,
  logChannel: string,
  onError: (error: unknown) => void,
): Background {
  const stopping = new AbortController()
  const context: Context = { signal: stopping.signal }
  const loops = [
    repeat(
      state,
      context,
      onError,
      async () => {
        await seal(state, wal, logChannel)
        return undefined
      },
      state.hurry,
    ),
    repeat(state, context, onError, async () => {
      await improve(state, context)
      return undefined
    }),
    repeat(state, context, onError, async () => {
      await expire(state, context)
      return undefined
    }),
    repeat(state, context, onError, async () => {
      await collect(state, context)
      return undefined
    }),
    repeat(state, context, onError, async () => {
      const left = await extendInterims(state, context)
      if (left === 'nothing') return undefined
      return left === 'rows' ? 0 : state.limits.interimIntervalMs
    }),
  ]
  return {
    async stop() {
      stopping.abort(new Error('streaming node is stopping'))
      await Promise.all(loops)
    },
  }
}

async function repeat(
  state: StreamingState,
  { signal }: Context,
  onError: (error: unknown) => void,
  /** Resolves to the pause until the next, if it is another than the usual. */
  step: () => Promise<number | undefined>,
  hurry?: Hurry,
): Promise<void> {
  let pauseMs = state.limits.backgroundIntervalMs
  for (;;) {
    try {
      await (hurry?.sleep(state.runtime, pauseMs, signal) ?? state.runtime.sleep(pauseMs, signal))
    } catch {
      return
    }
    if (signal.aborted || state.failure !== undefined) return
    try {
      pauseMs = (await step()) ?? state.limits.backgroundIntervalMs
    } catch (error) {
      if (signal.aborted) return
      onError(error)
      pauseMs = Math.min(pauseMs * 2, backoffMsMax)
    }
  }
}

export async function seal(state: StreamingState, wal: Wal, logChannel: string): Promise<void> {
  await sealDue(state)
  await truncateLog(state, wal, logChannel)
}

/**
 * A turn for every graph that is behind, so that a table that is written without a pause does not keep others waiting.
 * @returns what there is to do: rows to take in, or graphs that will want more
 */
export async function extendInterims(
  state: StreamingState,
  { signal }: Context = backgroundContext,
): Promise<'rows' | 'graphs' | 'nothing'> {
  let left: 'rows' | 'graphs' | 'nothing' = 'nothing'
  for (const channel of allChannels(state)) {
    const schema = state.tables.get(channel.tableId)?.schema
    if (schema === undefined || schema.vectorIndexes.length === 0) continue
    // Also closed ones: they are searched until they are flushed.
    for (const segment of channel.view.growing) {
      const { native, limits } = state
      const due = segment.interim.due(segment, schema.vectorIndexes, limits.interimBytesMin)
      for (const index of due) {
        if (signal.aborted) return left
        if (await segment.interim.extend(native, segment, index)) left = 'rows'
      }
      if (left === 'nothing' && !segment.interim.isEmpty) left = 'graphs'
    }
  }
  return left
}

/** One piece of work per step, so that CREATE INDEX and VACUUM FULL get their turn. */
export async function improve(
  state: StreamingState,
  context: Context = backgroundContext,
): Promise<void> {
  await state.building.run(async () => {
    for (const channel of allChannels(state)) {
      if (await improveChannel(state, channel, context)) return
    }
  })
}

async function improveChannel(
  state: StreamingState,
  channel: Channel,
  context: Context,
): Promise<boolean> {
  const schema = state.tables.get(channel.tableId)?.schema
  if (schema === undefined) return false
  const [group] = groupsToCompact(
    channel.view,
    schema,
    state.limits,
    'background',
    removableUntil(state),
  )
  if (group !== undefined) {
    await compactGroup(state, channel, group, context)
    return true
  }
  for (const index of schema.vectorIndexes) {
    const entry = channel.view.sealed.find((candidate) => lacksIndex(candidate, schema, index))
    if (entry === undefined) continue
    await buildOne(state, channel, entry, index, () => {}, context)
    return true
  }
  return false
}
