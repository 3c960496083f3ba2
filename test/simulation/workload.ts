/** What clients do. Each operation is a few reads and one transaction; the model judges both. */
import { backgroundContext, type Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { StagedRows } from '#nodes/streaming/contract.js'
import type { SimProcess } from './process.js'
import type { Catalog, Session } from './session.js'
import {
  accountsId,
  attnumOf,
  childrenId,
  draftsTimeToLiveMs,
  int8Datum,
  namesId,
  notesId,
  parentsId,
  placeIndexOf,
  primaryKeyOf,
  type Row,
  timeAt,
  withAddedColumn,
} from './tables.js'

export const accountCount = 12
const startBalance = 100
export const bankTotal = accountCount * startBalance
const keyCount = 14

/** The accounts, once. */
export async function openAccounts(session: Session): Promise<void> {
  const inserts = Array.from({ length: accountCount }, (_, id) => ({
    tableId: accountsId,
    id,
    value: startBalance,
  }))
  await session.commit('open accounts', { inserts, readAt: await session.strongTimestamp() })
}

export async function transfer(session: Session): Promise<void> {
  const { random } = session
  const [from, to] = random.shuffle(Array.from({ length: accountCount }, (_, id) => id))
  const readAt = await session.strongTimestamp()
  const found = await session.find(accountsId, [from ?? 0, to ?? 1], readAt)
  const [source, target] = found
  if (source === undefined || target === undefined) return
  const amount = random.below(50) - 10
  await session.commit('transfer', {
    deletes: [source, target],
    inserts: [
      { tableId: accountsId, id: source.id, value: source.value - amount },
      {
        tableId: accountsId,
        id: target.id,
        value: target.value + amount + (session.world.bug.paysTwice ? 1 : 0),
      },
    ],
    readAt,
  })
}

/** Names are unique over all shards. */
export async function rename(session: Session): Promise<void> {
  const { random } = session
  const readAt = await session.strongTimestamp()
  const ids = [random.below(keyCount), random.below(keyCount)]
  const found = await session.find(namesId, ids, readAt)
  const kind = random.choose({ name: 4, rename: 3, remove: 2 })
  if (kind === 'name') {
    const inserts = [...new Set(ids)].map((id) => ({
      tableId: namesId,
      id,
      value: random.below(keyCount),
    }))
    await session.commit('name', { inserts, readAt })
    return
  }
  if (found.length === 0) return
  const inserts =
    kind === 'remove'
      ? []
      : found.map(({ id }) => ({ tableId: namesId, id, value: random.below(keyCount) }))
  await session.commit(kind, { deletes: found, inserts, readAt })
}

/** Children refer to parents. */
export async function family(session: Session): Promise<void> {
  const { random } = session
  const readAt = await session.strongTimestamp()
  const parent = random.below(keyCount / 2)
  const kind = random.choose({ parent: 3, child: 5, orphan: 3, leave: 2 })
  if (kind === 'parent') {
    await session.commit('parent', {
      inserts: [{ tableId: parentsId, id: parent, value: 0 }],
      readAt,
    })
    return
  }
  if (kind === 'child') {
    const reference = {
      tableId: parentsId,
      indexOid: primaryKeyOf(parentsId),
      constraintName: 'children_parent_fkey',
      key: [int8Datum(parent)],
    }
    const inserts = [{ tableId: childrenId, id: random.below(keyCount * 2), value: parent }]
    await session.commit('child', { inserts, references: [reference], readAt })
    return
  }
  if (kind === 'leave') {
    const found = await session.find(childrenId, [random.below(keyCount * 2)], readAt)
    if (found.length > 0) await session.commit('leave', { deletes: found, readAt })
    return
  }
  const found = await session.find(parentsId, [parent], readAt)
  const children = await session.snapshot([childrenId], readAt)
  const isParent = children.get(childrenId)?.some(({ value }) => value === parent) ?? false
  if (found.length > 0 && !isParent) await session.commit('orphan', { deletes: found, readAt })
}

/** Rows that go to the log before their transaction commits, as COPY's do. */
export async function copyIn(session: Session): Promise<void> {
  const { random, model } = session
  const first = random.below(1000) * 100
  const byShard = new Map<number, (Row & { readonly tableId: number })[]>()
  for (let i = 0; i < 4 + random.below(30); i += 1) {
    const row = { tableId: notesId, id: first + i, value: random.below(1000), tag: model.takeTag() }
    const shard = session.shardOf(notesId, row.id)
    byShard.set(shard, [...(byShard.get(shard) ?? []), row])
  }
  const staged: StagedRows[] = []
  const readAt = await session.strongTimestamp()
  try {
    for (const [shard, rows] of byShard) {
      const stage = await session.streaming.stage(notesId, shard)
      staged.push(stage)
      const half = rows.length >> 1
      await stage.append(session.batch(notesId, rows.slice(0, half)))
      await stage.append(session.batch(notesId, rows.slice(half)))
    }
  } catch (error) {
    for (const stage of staged) await stage.abort().catch(() => {})
    throw error
  }
  if (random.chance(0.2)) {
    for (const stage of staged) await stage.abort()
    return
  }
  const of = [...byShard.values()].flat()
  const ending = await session.commit('copy', { staged: { rows: staged, of }, readAt })
  if (ending.kind !== 'committed') for (const stage of staged) await stage.abort().catch(() => {})
}

export async function note(session: Session): Promise<void> {
  const { random } = session
  const readAt = await session.strongTimestamp()
  const ids = Array.from({ length: 1 + random.below(4) }, () => 1_000_000 + random.below(60))
  const found = await session.find(notesId, ids, readAt)
  const inserts = [...new Set(ids)].map((id) => ({
    tableId: notesId,
    id,
    value: random.below(1000),
  }))
  await session.commit('note', { deletes: found, inserts, readAt })
}

/** Rows that expire, in a table that is dropped now and then; some transactions write to a lasting table, too. */
export async function draft(session: Session): Promise<void> {
  const { random, catalog, streaming } = session
  const tableId = catalog.draftsId
  // Created by another proxy, perhaps.
  streaming.noteTable(session.schemaOf(tableId))
  const readAt = await session.strongTimestamp()
  const ids = Array.from({ length: 1 + random.below(3) }, () => random.below(40))
  const found = await session.find(tableId, ids, readAt)
  const inserts = [...new Set(ids)].map((id) => ({
    tableId,
    id,
    value: timeAt(readAt, random.below(draftsTimeToLiveMs * 2) - draftsTimeToLiveMs),
  }))
  if (random.chance(0.4))
    inserts.push({ tableId: notesId, id: 2_000_000 + random.below(60), value: random.below(1000) })
  await session.commit('draft', { deletes: found, inserts, readAt })
}

/** Adds a column; rows that were there before read as its default. */
export async function addColumn(session: Session): Promise<void> {
  const before = session.schemaOf(notesId)
  if (before.columns.some(({ attnum }) => attnum === attnumOf.added)) {
    await readAdded(session)
    return
  }
  const { catalog, process, streaming } = session
  await withCatalog(catalog, process, async () => {
    if (session.schemaOf(notesId) !== before) return
    const after = newForm(catalog, withAddedColumn(before))
    try {
      await streaming.putTable(after)
    } catch (error) {
      await streaming.putTable(newForm(catalog, before))
      throw error
    }
    catalog.tables.set(notesId, after)
    session.world.count('column added')
  })
}

/** Also a form that is taken back is a new one: nodes pass over what is older than what they have. */
export function newForm(catalog: Catalog, schema: TableSchema): TableSchema {
  catalog.form += 1
  return { ...schema, version: catalog.form }
}

/** While nobody else changes tables; a holder that dies holds nothing. */
export async function withCatalog(
  catalog: Catalog,
  process: SimProcess,
  work: () => Promise<void>,
): Promise<void> {
  while (catalog.holder?.alive === true) await process.runtime.sleep(3)
  catalog.holder = process
  try {
    await work()
  } finally {
    if (catalog.holder === process) catalog.holder = undefined
  }
}

async function readAdded(session: Session): Promise<void> {
  const readAt = await session.strongTimestamp()
  const shard = session.random.below(session.schemaOf(notesId).shardCount)
  const fragment = { tableId: notesId, shard, readAt, output: [attnumOf.tag, attnumOf.added] }
  for await (const { batch } of session.streaming.scan(fragment, backgroundContext)) {
    const [tag, added] = batch.columns
    if (tag?.kind !== 'int64' || added?.kind !== 'int64')
      throw new Error('other columns than asked for')
    for (let row = 0; row < batch.rowCount; row += 1) {
      const [expected, found] = [Number(tag.values[row]), Number(added.values[row])]
      if (found !== expected && found !== 77) {
        session.world.violate('CAT-1', `row of tag ${expected} reads ${found} in the added column`)
      }
    }
  }
}

type Upkeep = 'flush' | 'checkpoint' | 'compact' | 'compact now' | 'reindex'

export function maintain(session: Session): Promise<void> {
  const kind = session.random.choose<Upkeep>({ flush: 6, checkpoint: 4, compact: 3, reindex: 1 })
  return keepUp(session, kind)
}

export function vacuum(session: Session): Promise<void> {
  return keepUp(session, session.random.choose<Upkeep>({ compact: 3, 'compact now': 1 }))
}

async function keepUp(session: Session, kind: Upkeep): Promise<void> {
  const { random, streaming, world } = session
  const indexed = [accountsId, notesId, session.catalog.draftsId]
  const tableId = random.pick(kind === 'reindex' ? indexed : [...indexed, namesId])
  session.say(`${kind} ${tableId}`)
  const context = random.chance(0.2) ? cancelledSoon(session) : backgroundContext
  if (kind === 'compact') await streaming.compact(tableId, context)
  else if (kind === 'compact now') await streaming.compact(tableId, context, 'now')
  else if (kind === 'reindex') {
    await streaming.buildIndex(tableId, placeIndexOf(tableId), () => {}, context, 'all')
  } else await streaming.flush(kind === 'flush' ? tableId : undefined, context)
  world.count(kind)
}

/** As by a client's cancel request, or its statement_timeout. */
function cancelledSoon({ random, process, world }: Session): Context {
  const cancel = new AbortController()
  void process.runtime.sleep(random.next() * random.next() * 60).then(() => {
    world.count('statement cancelled')
    cancel.abort(new DatabaseError(SqlState.queryCanceled, 'canceling statement'))
  })
  return { signal: cancel.signal }
}
