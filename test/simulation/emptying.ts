/**
 * Tables that lose all rows, by TRUNCATE or because another takes their name, while transactions over several log channels
 * write to them: those are prepared on one node, on their way to the log of another, and not decided.
 */
import { isPassing, Session } from './session.js'
import {
  childrenId,
  draftsTable,
  draftsTableIdStep,
  namesId,
  notesId,
  parentsId,
} from './tables.js'
import { copyIn, draft, family, newForm, note, rename, withCatalog } from './workload.js'

type Writer = (session: Session) => Promise<void>

export async function truncate(session: Session): Promise<void> {
  const { random, catalog } = session
  const groups: Record<string, { tables: readonly number[]; writers: readonly Writer[] }> = {
    notes: { tables: [notesId], writers: [note, note, copyIn] },
    names: { tables: [namesId], writers: [rename] },
    drafts: { tables: [catalog.draftsId], writers: [draft] },
    children: { tables: [childrenId], writers: [family] },
    family: { tables: [parentsId, childrenId], writers: [family] },
  }
  const chosen = groups[random.choose({ notes: 4, names: 3, drafts: 3, children: 1, family: 1 })]
  if (chosen === undefined) return
  const { tables, writers } = chosen
  await together(session, [(each) => empty(each, tables), ...someOf(session, writers)])
}

async function empty(session: Session, tables: readonly number[]): Promise<void> {
  const { random } = session
  const readAt = await session.strongTimestamp()
  const isNotes = tables.includes(notesId) && random.chance(0.5)
  const inserts = isNotes ? [{ tableId: notesId, id: 0, value: random.below(1000) }] : []
  await session.commit('truncate', { truncates: tables, inserts, readAt })
}

/** DROP TABLE and CREATE TABLE of the same name: another table. */
export async function replaceTable(session: Session): Promise<void> {
  await together(session, [replaceDrafts, ...someOf(session, [draft])])
}

async function replaceDrafts(session: Session): Promise<void> {
  const { catalog, process, streaming, world } = session
  await withCatalog(catalog, process, async () => {
    const before = session.schemaOf(catalog.draftsId)
    catalog.newestTableId += draftsTableIdStep
    const after = draftsTable(catalog.newestTableId, before.shardCount)
    try {
      await streaming.putTable(newForm(catalog, after))
    } catch (error) {
      await streaming.dropTable(after.tableId)
      throw error
    }
    await session.meet()
    catalog.tables.set(after.tableId, after)
    catalog.draftsId = after.tableId
    catalog.tables.delete(before.tableId)
    catalog.dropped.set(before.tableId, before)
    session.say(`drops ${before.tableId}, ${after.tableId} has its name`)
    await streaming.dropTable(before.tableId)
    world.count('table dropped')
  })
}

function someOf(session: Session, writers: readonly Writer[]): readonly Writer[] {
  const { random } = session
  return Array.from({ length: 1 + random.below(3) }, () => random.pick(writers))
}

/** They read, and then ask for their commits at about the same time. @throws what the first that failed has thrown */
async function together(session: Session, works: readonly Writer[]): Promise<void> {
  const { random, process } = session
  const spreadMs = random.pick([0, 1, 4])
  const meeting = new Meeting(works.length)
  const results = await Promise.allSettled(
    works.map(async (work) => {
      let isThere = false
      const arrive = (): Promise<void> => {
        if (!isThere) meeting.arrive()
        isThere = true
        return meeting.complete
      }
      const beforeCommit = async (): Promise<void> => {
        await arrive()
        await process.runtime.sleep(random.next() * spreadMs)
      }
      try {
        await work(new Session({ ...session, beforeCommit }))
      } finally {
        void arrive()
      }
    }),
  )
  const errors = results.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  )
  const worst = errors.find((error) => !isPassing(error)) ?? errors[0]
  if (worst !== undefined) throw worst
}

/** Complete when all have come. */
class Meeting {
  readonly complete: Promise<void>
  #missing: number
  #settle: () => void = () => {}

  constructor(count: number) {
    this.#missing = count
    this.complete = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  arrive(): void {
    this.#missing -= 1
    if (this.#missing === 0) this.#settle()
  }
}
