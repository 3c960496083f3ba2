/**
 * Statements that may call nextval: the sequences they can reach are held while they run, so that values are given once
 * and in order, and what the run used is kept.
 */
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type {
  EvaluationResult,
  SequenceInfo,
  SequenceState,
  TableInfo,
} from '#postgres/contract.js'
import { collectFunctionNames } from '#postgres/tree-walk.js'

/** Sequences behind defaults of these tables, and all of them when the text itself calls nextval or setval. */
export function sequencesOf(
  execution: Execution,
  tables: readonly TableInfo[],
): readonly SequenceInfo[] {
  const oids = new Set<number>()
  for (const table of tables) {
    for (const column of table.columns) {
      if (column.sequenceOid !== 0) oids.add(column.sequenceOid)
      const named = /nextval\('([^']+)'/.exec(column.defaultExpression ?? '')?.[1]
      if (named === undefined) continue
      for (const info of execution.catalog.sequences.values()) {
        if (
          named === info.name ||
          named.endsWith(`.${info.name}`) ||
          named.includes(`"${info.name}"`)
        )
          oids.add(info.oid)
      }
    }
  }
  for (const name of collectFunctionNames(execution.parsed.tree)) {
    const last = name.slice(name.lastIndexOf('.') + 1)
    if (last === 'nextval' || last === 'setval') {
      for (const info of execution.catalog.sequences.values()) {
        if (execution.parsed.sql.includes(info.name)) oids.add(info.oid)
      }
      // The name may be computed: then any sequence may be meant.
      if (oids.size === 0)
        for (const info of execution.catalog.sequences.values()) oids.add(info.oid)
    }
  }
  return [...oids].flatMap((oid) => {
    const info = execution.catalog.sequences.get(oid)
    return info === undefined ? [] : [info]
  })
}

export async function withSequences(
  execution: Execution,
  run: (states: readonly SequenceState[]) => Promise<EvaluationResult>,
  tables: readonly TableInfo[] = [],
): Promise<EvaluationResult> {
  const infos = [...sequencesOf(execution, tables)]
  for (;;) {
    const result = await runHolding(execution, infos, run)
    // A sequence that moved without having been held (in a function, a trigger): hold it too and run again.
    const more = (result.touchedSequences ?? []).flatMap((oid) => {
      const info = execution.catalog.sequences.get(oid)
      return info === undefined || infos.some((held) => held.oid === oid) ? [] : [info]
    })
    if (more.length === 0) return result
    infos.push(...more)
  }
}

async function runHolding(
  execution: Execution,
  infos: readonly SequenceInfo[],
  run: (states: readonly SequenceState[]) => Promise<EvaluationResult>,
): Promise<EvaluationResult> {
  if (infos.length === 0) return run([])
  return execution.environment.sequences.withStates(infos, async (before) => {
    const result = await run(before)
    if ((result.touchedSequences ?? []).length > 0) return { value: result, states: [] }
    remember(execution, before, result.sequences)
    return { value: result, states: result.sequences }
  })
}

function remember(
  execution: Execution,
  before: readonly SequenceState[],
  after: readonly SequenceState[],
): void {
  const used = after.filter((state) => {
    const old = before.find((candidate) => candidate.oid === state.oid)
    return (
      state.isCalled && (old === undefined || old.lastValue !== state.lastValue || !old.isCalled)
    )
  })
  if (used.length === 0) return
  const kept = execution.memory.sessionSequences.filter((state) =>
    used.every((other) => other.oid !== state.oid),
  )
  execution.memory.sessionSequences = [...kept, ...used]
}
