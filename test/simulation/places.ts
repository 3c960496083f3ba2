/** What runs in each kind of simulated process. */

import type { Native } from '#engine/index/native.js'
import { createPlainNative } from '#engine/index/plain/plain-native.testing.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { startCandidate } from '#nodes/coordinator/leader.js'
import type { DataNode } from '#nodes/data/contract.js'
import { startDataNode } from '#nodes/data/data-node.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { startQueryNode } from '#nodes/query/query-node.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import { openReopeningStreamingNode } from '#nodes/streaming/reopening-node.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'
import type { SimProcess } from './process.js'
import type { Settings } from './settings.js'
import { type Disks, openStores, type Stores } from './stores.js'
import { watchCoordinator } from './watch-coordinator.js'

/** A process with its handles on the stores. */
export interface Place {
  readonly process: SimProcess
  readonly stores: Stores
  readonly native: Native
  /** Of all rows that the process has not flushed. */
  readonly memory: WriteMemory
  /** What its query node keeps in memory. */
  readonly sealedBytes: number
}

export function openPlace(process: SimProcess, disks: Disks, settings: Settings): Place {
  const stores = openStores(process, disks)
  const { growingBytes, sealedBytes } = settings
  const memory = new WriteMemory({ runtime: process.runtime, hardBytes: growingBytes })
  return { process, stores, native: createPlainNative(stores.files), memory, sealedBytes }
}

export async function lead(
  { process, stores }: Place,
  leadership: 'exclusive' | 'elected',
): Promise<Coordinator> {
  const { runtime } = process
  const { bug } = process.world
  const coordinator = await openCoordinator({
    meta: stores.meta,
    runtime,
    leadership: bug.trustsLeaders ? 'exclusive' : leadership,
  })
  const random = process.world.random.fork()
  return watchCoordinator(bug.coordinator?.(coordinator, random) ?? coordinator, process)
}

/** Leads when it has the lease. */
export function stand({ process, stores }: Place, leaseMs: number): Coordinator {
  const { world, runtime, name } = process
  const candidate = startCandidate({
    meta: stores.meta,
    runtime,
    id: name,
    leaseMs,
    onLeading: () => {
      world.count('leader elected')
      world.say(name, 'leads')
    },
    onError: (error) => {
      if (process.alive) world.noteBackgroundError(name, error)
    },
  })
  return watchCoordinator(
    world.bug.coordinator?.(candidate, world.random.fork()) ?? candidate,
    process,
  )
}

export function startQuery({ process, stores, native, sealedBytes }: Place): QueryNode {
  const { runtime } = process
  return startQueryNode({ native, objects: stores.objects, runtime, memoryBytes: sealedBytes })
}

export function startData({ process, stores, native }: Place): Promise<DataNode> {
  const { objects, files } = stores
  const { runtime } = process
  return startDataNode({
    native,
    objects,
    runtime,
    files,
    temporaryDirectory: 'temporary',
    threads: 1,
  })
}

/** What a streaming node works with. */
export interface Surroundings {
  readonly coordinator: Coordinator
  readonly queryNode: QueryNode
  readonly dataNode: DataNode
  /** Owners of the other log channels. */
  readonly peers: (logChannel: string) => StreamingNode | undefined
}

export async function own(
  { process, stores, native, memory }: Place,
  logChannel: string,
  surroundings: Surroundings,
  settings: Settings,
  ownership: 'exclusive' | 'leased',
  onFailure: (error: unknown) => void,
): Promise<StreamingNode> {
  const { world, runtime } = process
  const node = await openReopeningStreamingNode({
    ...surroundings,
    wal: stores.wal,
    logChannel,
    logChannelCount: settings.logChannelCount,
    native,
    runtime,
    memory,
    ownership,
    limits: settings.limits,
    background: 'automatic',
    onFailure: (error) => {
      if (!process.alive) return
      world.count('streaming node failed')
      world.say(process.name, `${logChannel} has failed: ${String(error)}`)
      onFailure(error)
    },
    onBackgroundError: (error) => {
      if (process.alive) world.noteBackgroundError(process.name, error)
    },
  })
  return world.bug.streaming?.(node, world.random.fork()) ?? node
}
