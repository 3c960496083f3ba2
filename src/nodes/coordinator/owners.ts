/**
 * Who owns each log channel, and which of its changes are done. Read from the store each time: owners change seldom, and
 * renew once in a while.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { LogChannelOwner, OwnerStep } from '#nodes/coordinator/contract.js'
import type { FencedMeta } from '#nodes/coordinator/fenced-meta.js'
import { decodeJson, encodeJson, metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

export interface OwnerSteps {
  /**
   * Called inside fenced.exclusively(). @returns what is to be written together with the change; 'done': nothing is to be done
   * @throws 57P03 when the owner was deposed
   */
  begin(by: OwnerStep | undefined): Promise<readonly MetaOperation[] | 'done'>
}

export interface Owners extends OwnerSteps {
  owner(logChannel: string): Promise<LogChannelOwner | undefined>
  replace(
    logChannel: string,
    found: LogChannelOwner | undefined,
    next: LogChannelOwner,
  ): Promise<boolean>
}

export function createOwners(meta: MetaStore, fenced: FencedMeta): Owners {
  async function owner(logChannel: string): Promise<LogChannelOwner | undefined> {
    const entry = await meta.get(metaKeys.owner(logChannel))
    return entry === undefined ? undefined : (decodeJson(entry.value) as LogChannelOwner)
  }

  return {
    owner,
    replace: (logChannel, found, next) =>
      fenced.exclusively(async () => {
        const present = await owner(logChannel)
        if (!isSame(present, found)) return false
        const key = metaKeys.owner(logChannel)
        await fenced.write([{ kind: 'put', key, value: encodeJson(next) }])
        return true
      }),
    async begin(by) {
      if (by === undefined) return []
      const { logChannel, term, step } = by
      const present = await owner(logChannel)
      if (present !== undefined && present.term > term) {
        throw new DatabaseError(
          SqlState.cannotConnectNow,
          `this node is not the owner of log channel "${logChannel}" any more`,
        )
      }
      const key = metaKeys.ownerStep(logChannel)
      const entry = await meta.get(key)
      if (entry !== undefined) {
        const last = decodeJson(entry.value) as { readonly term: number; readonly step: number }
        if (last.term === term && last.step >= step) return 'done'
      }
      return [{ kind: 'put', key, value: encodeJson({ term, step }) }]
    },
  }
}

function isSame(a: LogChannelOwner | undefined, b: LogChannelOwner | undefined): boolean {
  return a?.term === b?.term && a?.servesBefore === b?.servesBefore
}
