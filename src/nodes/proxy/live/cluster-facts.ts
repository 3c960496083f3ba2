/** What whoever assembled the nodes knows of them, beyond their contracts. */
export interface NodeFact {
  readonly name: string
  /** proxy, coordinator, streaming, query, data */
  readonly kind: string
  readonly state: string
  readonly address: string
  /** Unix milliseconds. undefined: it does not say. */
  readonly startedMs: number | undefined
  readonly version: string | undefined
}

export interface MemoryFact {
  /** What the memory is used for. */
  readonly name: string
  readonly usedBytes: number
  /** 0 or infinite: no bound. */
  readonly budgetBytes: number
  /** Counted since the start. */
  readonly events: Readonly<Record<string, number>>
}

/** What WITH (replicas = n) comes to. */
export interface ReplicaFact {
  /** Of tables that do not say. */
  readonly byDefault: number
  /** Query nodes that can hold a segment now. */
  readonly nodeCount: number
  /** Everything is in this process: nothing can be held twice. */
  readonly isStandalone: boolean
}

export interface ClusterFacts {
  replicas(): ReplicaFact
  /** Address of the owner of a log channel, if anyone knows. */
  ownerOf(logChannel: string): string | undefined
  nodes(): Promise<readonly NodeFact[]>
  memory(): Promise<readonly MemoryFact[]>
}
