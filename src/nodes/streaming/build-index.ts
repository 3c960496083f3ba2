/** Builds vector indexes over flushed segments; searches go on over what is there until the manifest switches. */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { TableSchema, VectorIndexSchema } from '#engine/columnar/schema.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { closeGrowing, flushClosed } from '#nodes/streaming/flush.js'
import { isTruncated } from '#nodes/streaming/needed-position.js'
import { checkUsable, type StreamingState, tableOf } from '#nodes/streaming/state.js'
import { switchIndexes } from '#nodes/streaming/switch-manifest.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

/** CREATE INDEX, REINDEX. Rows of a COPY that is open are indexed in the background, after it has ended. @throws 42704 */
export async function buildIndex(
  state: StreamingState,
  tableId: number,
  indexOid: number,
  onProgress: (done: number, total: number) => void,
  context: Context,
  which: 'missing' | 'all' = 'missing',
): Promise<void> {
  const { channels } = tableOf(state, tableId)
  for (const channel of channels) {
    closeGrowing(channel)
    await flushClosed(state, channel, context)
  }
  const wantedNow = (index: VectorIndexSchema, schema: TableSchema) =>
    channels.flatMap((channel) =>
      channel.view.sealed
        .filter((entry) =>
          which === 'all' ? isCurrent(entry, schema) : lacksIndex(entry, schema, index),
        )
        .map((entry) => ({ channel, entry })),
    )
  const find = () => {
    const { schema } = tableOf(state, tableId)
    const index = schema.vectorIndexes.find((candidate) => candidate.indexOid === indexOid)
    if (index !== undefined) return { schema, index }
    throw new DatabaseError(
      SqlState.undefinedObject,
      `could not open relation with OID ${indexOid}`,
    )
  }
  const first = find()
  const total = rowsOf(wantedNow(first.index, first.schema))
  onProgress(0, total)
  // The background may have begun with it already: its progress is ours.
  const waiting = new AbortController()
  const told = tellWhileWaiting(state, waiting.signal, () => {
    const left = wantedNow(first.index, first.schema)
    const building = left.map(({ entry }) => entry.indexBuild)
    const rows = building.map((build) => (build?.indexOid === indexOid ? build.rowsDone : 0))
    onProgress(total - rowsOf(left) + rows.reduce((sum, each) => sum + each, 0), total)
  })
  try {
    await state.building.run(async () => {
      waiting.abort()
      const { schema, index } = find()
      const wanted = wantedNow(index, schema)
      let done = Math.max(0, total - rowsOf(wanted))
      for (const { channel, entry } of wanted) {
        const progress = (rows: number) => onProgress(Math.min(done + rows, total), total)
        await buildOne(state, channel, entry, index, progress, context)
        done += entry.manifest.rowCount
        progress(0)
      }
    })
  } finally {
    waiting.abort()
    await told
  }
}

const tellEveryMs = 200

async function tellWhileWaiting(
  { runtime }: Pick<StreamingState, 'runtime'>,
  isOver: AbortSignal,
  tell: () => void,
): Promise<void> {
  while (!isOver.aborted) {
    await runtime.sleep(tellEveryMs, isOver).catch(() => {})
    if (!isOver.aborted) tell()
  }
}

function rowsOf(found: readonly { readonly entry: SealedEntry }[]): number {
  return found.reduce((sum, { entry }) => sum + entry.manifest.rowCount, 0)
}

export function lacksIndex(
  entry: SealedEntry,
  schema: TableSchema,
  index: VectorIndexSchema,
): boolean {
  if (!isCurrent(entry, schema)) return false
  return entry.manifest.indexes.every(({ indexOid }) => indexOid !== index.indexOid)
}

export function isCurrent(entry: SealedEntry, schema: TableSchema): boolean {
  return !isTruncated(entry) && entry.manifest.incarnation === schema.incarnation
}

/** Inside state.building. */
export async function buildOne(
  state: StreamingState,
  channel: Channel,
  entry: SealedEntry,
  index: VectorIndexSchema,
  onProgress: (rowsDone: number) => void,
  context: Context,
): Promise<void> {
  checkCancelled(context)
  checkUsable(state)
  const table = state.tables.get(channel.tableId)
  if (table === undefined || channel.dropped) return
  const { schema } = table
  const progress = { indexOid: index.indexOid, rowsDone: 0 }
  entry.indexBuild = progress
  const note = (rowsDone: number): void => {
    progress.rowsDone = rowsDone
    onProgress(rowsDone)
  }
  try {
    const built = await state.dataNode.buildIndex(entry.manifest, schema, index, note, context)
    const known = new Set(schema.vectorIndexes.map(({ indexOid }) => indexOid))
    const indexes = built.indexes.filter(({ indexOid }) => known.has(indexOid))
    await switchIndexes(state, channel, entry, indexes, schema)
  } finally {
    entry.indexBuild = undefined
  }
}
