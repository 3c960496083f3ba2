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

export interface ClusterFacts {
  nodes(): Promise<readonly NodeFact[]>
  memory(): Promise<readonly MemoryFact[]>
}
