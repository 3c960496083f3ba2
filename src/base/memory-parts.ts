/** What the parts of a process take of the memory they may take: for /metrics and the views of the running server. */
export interface MemoryPart {
  readonly name: 'sealed' | 'growing'
  readonly usedBytes: number
  readonly budgetBytes: number
  /** Counted since the start: what short memory did. */
  readonly events: Readonly<Record<string, number>>
}

/** Prometheus' text format. */
export function memoryMetrics(parts: readonly MemoryPart[]): readonly string[] {
  const gauge = (name: string, value: (part: MemoryPart) => number) => [
    `# TYPE elanus_memory_${name}_bytes gauge`,
    ...parts.map(
      (part) => `elanus_memory_${name}_bytes{part="${part.name}"} ${Math.round(value(part))}`,
    ),
  ]
  return [
    ...gauge('used', ({ usedBytes }) => usedBytes),
    ...gauge('budget', ({ budgetBytes }) => budgetBytes),
    '# TYPE elanus_memory_events_total counter',
    ...parts.flatMap(({ name, events }) =>
      Object.entries(events).map(
        ([event, count]) => `elanus_memory_events_total{part="${name}",event="${event}"} ${count}`,
      ),
    ),
  ]
}
