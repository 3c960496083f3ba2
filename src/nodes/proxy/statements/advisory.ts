/**
 * Advisory lock functions, called alone in a select list or behind a CTE that sets lock_timeout. The embedded instances
 * know no other session, so the locks are the lock service's; what the functions return is what really happened.
 */
import { notSupported } from '#base/errors.js'
import { writeDataRow } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { isColumnFree, toExpression, toSql } from '#nodes/proxy/plan/expression.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import { formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import { evaluateValues } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { holdLocks } from '#nodes/proxy/statements/hold-locks.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'
import { collectFunctionNames } from '#postgres/tree-walk.js'

const names = /^(?:pg_catalog\.)?pg_(try_)?advisory_(xact_)?(lock|unlock|unlock_all)(_shared)?$/

export function isAdvisoryCall(execution: Execution): boolean {
  for (const name of collectFunctionNames(execution.parsed.tree)) if (names.test(name)) return true
  return false
}

export async function advisoryStatement(execution: Execution): Promise<Result> {
  const { parsed } = execution
  const targets = (parsed.tree['targetList'] ?? []) as readonly { readonly ResTarget?: TreeNode }[]
  const calls = targets.map((target) => toExpression(target.ResTarget?.['val']))
  const description = await describeStatement(execution.bound, execution)
  const values: (boolean | undefined)[] = []
  for (const call of calls) {
    const match = call.kind === 'call' ? names.exec(call.name) : null
    if (call.kind !== 'call' || match === null || !call.arguments.every(isColumnFree)) {
      throw notSupported(
        'advisory lock functions must stand alone in the select list',
        'Write SELECT pg_advisory_lock(key).',
      )
    }
    const keys =
      call.arguments.length === 0
        ? []
        : await evaluateValues(
            execution,
            `SELECT ${call.arguments.map((argument) => `(${toSql(argument)})::int8::text`).join(', ')}`,
            description.parameterTypes,
            parsed.sql.includes('$'),
          )
    const key = `int${keys.length === 1 ? 8 : 4}:${keys.map((datum) => Buffer.from(datum ?? []).toString()).join(',')}`
    values.push(await run(execution, match, key))
  }
  const formats = formatsOf(execution.bound.resultFormats, values.length)
  const writer = new ByteWriter()
  writeDataRow(
    writer,
    values.map((value, i) =>
      value === undefined
        ? formats[i] === 1
          ? new Uint8Array()
          : ''
        : formats[i] === 1
          ? Uint8Array.of(value ? 1 : 0)
          : value
            ? 't'
            : 'f',
    ),
  )
  return {
    fields: description.fields.map((field, i) => ({ ...field, format: formats[i] ?? 0 })),
    rows: [{ data: writer.take(), count: 1 }],
    tag: (count) => `SELECT ${count}`,
  }
}

/** @returns the function's result; undefined for void */
async function run(
  execution: Execution,
  match: RegExpExecArray,
  key: string,
): Promise<boolean | undefined> {
  const { locks } = execution.memory
  const [, attempt, xact, verb, sharedSuffix] = match
  const shared = sharedSuffix !== undefined
  const mode = shared ? 'shared' : 'exclusive'
  if (verb === 'unlock_all') {
    await locks.releaseSession()
    return undefined
  }
  if (verb === 'unlock') {
    const held = await locks.releaseOne('advisory', key, mode)
    if (!held) {
      execution.out.notice({
        severity: 'WARNING',
        sqlState: '01000',
        message: `you don't own a lock of type ${shared ? 'ShareLock' : 'ExclusiveLock'}`,
      })
    }
    return held
  }
  const scope = xact === undefined ? 'session' : 'transaction'
  const wanted = { space: 'advisory', names: [key], mode, scope, afterWait: 'take' } as const
  if (attempt !== undefined) return await locks.attempt(wanted, execution.context)
  await holdLocks(execution, wanted)
  return undefined
}
