/** What the parts of a process take of the memory they may take: for /metrics and the views of the running server. */
export interface MemoryPart {
  readonly name: 'sealed' | 'growing'
  readonly usedBytes: number
  readonly budgetBytes: number
  /** Counted since the start: what short memory did. */
  readonly events: Readonly<Record<string, number>>
}
