/**
 * Objects that the collector removes: no manifest may name one of them any more. A job that wrote one so long ago that it was
 * taken for garbage, and still is about to record it, is refused, and writes others; names never come twice.
 *
 * A mark is kept until every job that could know the names is over: until each log channel has another owner than at the time
 * (the changes of the one before are refused anyway), or the process, where everything is one. That is seen to when the next
 * are condemned. Written in the same step as what the registry records, under the same fence.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { namedObjects } from '#engine/segment/object-names.js'
import type { FencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { decodeJson, encodeJson, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

export interface Condemned {
  /** @throws 55000 when a manifest names a condemned object */
  check(manifests: readonly SegmentManifest[]): void
  /** @returns what is to be written. @throws 55000 when a manifest names one */
  condemn(
    names: readonly string[],
    manifests: Iterable<SegmentManifest>,
  ): Promise<readonly MetaOperation[]>
  /** It was written. */
  done(operations: readonly MetaOperation[]): void
}

interface Mark {
  readonly names: readonly string[]
  /** Of the owners of log channels at the time. */
  readonly terms: Readonly<Record<string, number>>
  readonly coordinatorTerm: number
}

/** A mark is one value of the store. */
const namesPerMark = 2000
const ownerPrefix = metaKeys.owner('')

export async function openCondemned(meta: MetaStore, fenced: FencedMeta): Promise<Condemned> {
  const marks = new Map<string, Mark>()
  const names = new Set<string>()

  async function load(): Promise<void> {
    const entries = await meta.list(metaKeys.condemnedPrefix)
    marks.clear()
    for (const { key, value } of entries) marks.set(key, decodeJson(value) as Mark)
    countNames()
  }

  function countNames(): void {
    names.clear()
    for (const mark of marks.values()) for (const name of mark.names) names.add(name)
  }

  async function ownerTerms(): Promise<Record<string, number>> {
    const owners = await meta.list(ownerPrefix)
    return Object.fromEntries(
      owners.map(({ key, value }) => [
        key.slice(ownerPrefix.length),
        (decodeJson(value) as { readonly term: number }).term,
      ]),
    )
  }

  function nextNumber(): number {
    const numbers = [...marks.keys()].map((key) =>
      Number(key.slice(metaKeys.condemnedPrefix.length)),
    )
    return Math.max(0, ...numbers) + 1
  }

  await load()
  fenced.onUnclear(load)
  return {
    check(manifests) {
      if (names.size === 0) return
      for (const manifest of manifests) {
        const name = namedObjects(manifest).find((one) => names.has(one))
        if (name !== undefined) throw isCondemned(manifest.segmentId, name)
      }
    },
    async condemn(wanted, manifests) {
      const fresh = wanted.filter((name) => !names.has(name))
      if (fresh.length === 0) return []
      const set = new Set(fresh)
      for (const manifest of manifests) {
        const name = namedObjects(manifest).find((one) => set.has(one))
        if (name !== undefined) throw isNamed(manifest.segmentId, name)
      }
      const terms = await ownerTerms()
      const operations: MetaOperation[] = [...marks]
        .filter(([, mark]) => isOver(mark, terms, fenced.term))
        .map(([key]) => ({ kind: 'delete', key }))
      let number = nextNumber()
      for (let from = 0; from < fresh.length; from += namesPerMark) {
        const part = fresh.slice(from, from + namesPerMark)
        const mark: Mark = { names: part, terms, coordinatorTerm: fenced.term }
        operations.push({ kind: 'put', key: metaKeys.condemned(number), value: encodeJson(mark) })
        number += 1
      }
      return operations
    },
    done(operations) {
      const ours = operations.filter(({ key }) => key.startsWith(metaKeys.condemnedPrefix))
      if (ours.length === 0) return
      for (const operation of ours) {
        if (operation.kind === 'delete') marks.delete(operation.key)
        else marks.set(operation.key, decodeJson(operation.value) as Mark)
      }
      countNames()
    },
  }
}

/** Nobody is left who could have written the objects. */
function isOver(
  { terms, coordinatorTerm }: Mark,
  now: Readonly<Record<string, number>>,
  term: number,
): boolean {
  const then = Object.entries(terms)
  // No leases: the coordinator's process is everybody's.
  if (then.length === 0) return Object.keys(now).length === 0 && coordinatorTerm < term
  return then.every(([logChannel, before]) => (now[logChannel] ?? 0) > before)
}

function isCondemned(segmentId: number, name: string): DatabaseError {
  return new DatabaseError(
    SqlState.objectNotInPrerequisiteState,
    `segment ${segmentId} is not recorded: "${name}" was taken for garbage`,
    { hint: 'The work on the segment is done again.' },
  )
}

function isNamed(segmentId: number, name: string): DatabaseError {
  return new DatabaseError(
    SqlState.objectNotInPrerequisiteState,
    `"${name}" is not garbage: segment ${segmentId} has it`,
  )
}
