/** The nodes of the cluster, kept current by watching the meta store. */
import type { Runtime } from '#base/runtime.js'
import type { ClusterNode } from '#nodes/coordinator/contract.js'
import { watchNodes } from '#nodes/coordinator/membership.js'
import type { MetaStore } from '#storage/meta/meta.js'

export interface KnownNodes {
  ofKind(kind: ClusterNode['kind']): readonly ClusterNode[]
  /** Called now and after every change. */
  onChange(listener: () => void): void
  stop(): Promise<void>
}

const againMs = 500

/** Resolves when the nodes have been read once. @throws StoreError */
export async function openKnownNodes(
  meta: MetaStore,
  runtime: Runtime,
  onError: (error: unknown) => void,
): Promise<KnownNodes> {
  const stopping = new AbortController()
  const listeners: (() => void)[] = []
  let nodes: readonly ClusterNode[] = []
  let isRead: () => void = () => {}
  const firstRead = new Promise<void>((resolve) => {
    isRead = resolve
  })

  async function follow(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        for await (const present of watchNodes(meta, stopping.signal)) {
          nodes = present
          isRead()
          for (const listener of listeners) listener()
        }
      } catch (error) {
        if (!stopping.signal.aborted) onError(error)
      }
      await runtime.sleep(againMs, stopping.signal).catch(() => {})
    }
  }

  const following = follow()
  await firstRead
  return {
    ofKind: (kind) => nodes.filter((node) => node.kind === kind),
    onChange(listener) {
      listeners.push(listener)
      listener()
    },
    async stop() {
      stopping.abort()
      await following
    },
  }
}
