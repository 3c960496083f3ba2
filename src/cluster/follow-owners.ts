/** Who owns which log channel, as the leading coordinator told last; and their owners as streaming nodes. */
import { backgroundContext } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Member } from '#cluster/open-member.js'
import { startWatchingKey } from '#cluster/watch-key.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { ownersSetting, readOwners } from '#nodes/coordinator/place-log-channels.js'
import { type RemoteStreamingNode, remoteStreaming } from '#nodes/streaming/remote.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface FollowedOwners {
  readonly nodes: ReadonlyMap<string, RemoteStreamingNode>
  /** Whether somebody is said to own it. */
  isKnown(logChannel: string): boolean
  addressOf(logChannel: string): string | undefined
  stop(): Promise<void>
}

export interface FollowOwnersOptions {
  readonly member: Member
  readonly meta: MetaStore
  readonly runtime: Runtime
  readonly logChannels: readonly string[]
  /** Keeps serviceTime() of the nodes current. */
  readonly refreshMs: number | undefined
  readonly onError: (error: unknown) => void
}

const lookMs = 5000

export function followOwners(options: FollowOwnersOptions): FollowedOwners {
  const { member, meta, runtime, logChannels, refreshMs, onError } = options
  const stopping = new AbortController()
  let owners: Readonly<Record<string, string>> = {}
  const nodes = new Map(
    logChannels.map((logChannel) => {
      const find = () => {
        const address = owners[logChannel]
        return address === undefined ? undefined : member.connections.to(address)
      }
      return [logChannel, remoteStreaming({ logChannel, find })] as const
    }),
  )
  const watching = startWatchingKey({
    meta,
    runtime,
    prefix: metaKeys.setting(ownersSetting),
    lookMs,
    async look() {
      owners = await readOwners(member.coordinator)
    },
    onError,
  })

  async function refresh(everyMs: number): Promise<void> {
    const { signal } = stopping
    while (!signal.aborted) {
      await runtime.sleep(everyMs, signal).catch(() => {})
      if (signal.aborted) return
      const asked = [...nodes.values()].map((node) => node.refreshServiceTime(backgroundContext))
      for (const { status, reason } of (await Promise.allSettled(
        asked,
      )) as PromiseRejectedResult[]) {
        if (status === 'rejected' && !(reason instanceof UnreachableError)) onError(reason)
      }
    }
  }

  const refreshing = refreshMs === undefined ? Promise.resolve() : refresh(refreshMs)
  return {
    nodes,
    isKnown: (logChannel) => owners[logChannel] !== undefined,
    addressOf: (logChannel) => owners[logChannel],
    async stop() {
      stopping.abort()
      await Promise.all([watching.stop(), refreshing])
    },
  }
}
