/** The newest copy of the meta store that the object store has: a base and the changes after it (nodes/coordinator/meta-copy.ts). */
import { crc32 } from 'node:zlib'
import { type MetaCopyObject, metaCopyPrefix } from '#nodes/coordinator/meta-copy.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface CopiedMeta {
  readonly term: number
  /** Unix milliseconds: when the newest part of it was put. */
  readonly savedMs: number
  readonly keys: ReadonlyMap<string, Uint8Array>
}

interface Named {
  readonly name: string
  readonly term: number
  readonly number: number
  readonly kind: string
}

/** @throws Error when there is none, or it is damaged */
export async function readCopy(objects: ObjectStore): Promise<CopiedMeta> {
  const found: Named[] = []
  for await (const { name } of objects.list(metaCopyPrefix)) found.push(parseName(name))
  found.sort((a, b) => a.term - b.term || a.number - b.number)
  const base = found.findLast(({ kind }) => kind === 'base')
  if (base === undefined) {
    throw new Error(`the object store has no copy of a meta store (${metaCopyPrefix}…)`)
  }
  const keys = new Map<string, Uint8Array>()
  let savedMs = 0
  let number = base.number
  for (const next of found.filter((one) => one.term === base.term && one.number >= base.number)) {
    const object = await readObject(objects, next.name)
    if (object.kind === 'changes' && object.after > number) {
      throw new Error(`the copy has a gap before ${next.name}`)
    }
    number = next.number
    savedMs = Math.max(savedMs, object.savedMs)
    for (const [key, value] of object.keys) {
      if (value === null) keys.delete(key)
      else keys.set(key, new Uint8Array(Buffer.from(value, 'base64')))
    }
  }
  return { term: base.term, savedMs, keys }
}

function parseName(name: string): Named {
  const [, term, number, kind = ''] =
    /\/(\d+)\/(\d+)-(base|changes)-[0-9a-f]{8}\.json$/.exec(name) ?? []
  return { name, term: Number(term ?? -1), number: Number(number ?? -1), kind }
}

async function readObject(objects: ObjectStore, name: string): Promise<MetaCopyObject> {
  const bytes = await objects.get(name)
  if (bytes === undefined) throw new Error(`${name} has gone`)
  const checksum = crc32(bytes).toString(16).padStart(8, '0')
  if (!name.endsWith(`-${checksum}.json`)) throw new Error(`${name} is damaged`)
  const object = JSON.parse(new TextDecoder().decode(bytes)) as MetaCopyObject
  if (object.formatVersion !== 1) throw new Error(`${name} has version ${object.formatVersion}`)
  return object
}
