/** pg_locks: what the lock service keeps, of all proxies. */
import type { Datum } from '#engine/columnar/column.js'
import type { LockFact, LockMode, LockSpace } from '#nodes/locks/contract.js'
import type { LiveRow, LiveSources } from '#nodes/proxy/live/live-sources.js'
import { int4, text } from '#nodes/proxy/live/send-format.js'

/** Somebody may have locked a whole table row by row. */
const rowCountMax = 10_000
const modeNames = { shared: 'ShareLock', exclusive: 'ExclusiveLock' } as const

export async function locks({ locks: service }: LiveSources): Promise<readonly LiveRow[]> {
  return (await service.list(rowCountMax)).map((fact) => [
    int4(fact.processId),
    ...target(fact),
    text(modeName(fact.space, fact.mode)),
    Uint8Array.of(fact.isGranted ? 1 : 0),
  ])
}

/** locktype, relation, classid, objid, objsubid */
function target({ space, name }: LockFact): Datum[] {
  if (space === 'advisory') return [text('advisory'), null, ...advisoryKey(String(name))]
  const relation = space === 'table' ? Number(name) : space
  return [text(space === 'table' ? 'relation' : 'tuple'), oid(relation), null, null, null]
}

/** 'int8:key' or 'int4:key,key', as lockfuncs.c cuts them: one key in two halves, objsubid 1; two keys, objsubid 2. */
function advisoryKey(name: string): Datum[] {
  const keys = name.slice(name.indexOf(':') + 1).split(',')
  if (keys.length === 2) return [oid(Number(keys[0])), oid(Number(keys[1])), int2(2)]
  const key = BigInt.asUintN(64, BigInt(keys[0] ?? 0))
  return [oid(Number(key >> 32n)), oid(Number(key & 0xffff_ffffn)), int2(1)]
}

/** LOCK TABLE knows one strong mode. */
function modeName(space: LockSpace, mode: LockMode): string {
  return space === 'table' ? 'AccessExclusiveLock' : modeNames[mode]
}

/** Unsigned, but the same four bytes. */
function oid(value: number): Datum {
  return int4(value | 0)
}

function int2(value: number): Datum {
  return Uint8Array.of(value >> 8, value & 0xff)
}
