/**
 * CALL of procedures of schema elanus: what backup and restore need of a server. Arguments are constants, the answer is one
 * column of text. Procedures of users are run as their functions are.
 */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { writeDataRow } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import type { AttachRequest } from '#nodes/proxy/backup/facts.js'
import { holdObjects, releaseObjects } from '#nodes/proxy/backup/hold-objects.js'
import { replayDdl } from '#nodes/proxy/backup/replay-ddl.js'
import { databaseFacts, takeSnapshot } from '#nodes/proxy/backup/take-snapshot.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { refuseInBlock } from '#nodes/proxy/statements/maintenance.js'
import { runBody } from '#nodes/proxy/statements/modify.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'
import type { DdlEntry } from '#postgres/contract.js'
import { stringList } from '#postgres/tree-walk.js'

type Procedure = (execution: Execution, args: readonly string[]) => Promise<unknown>

const procedures: Readonly<Record<string, Procedure>> = {
  /** (id, seconds): objects stay, whoever needs them no more. */
  async hold_objects({ environment }, [id = '', seconds = '60']) {
    await holdObjects(environment.coordinator, id, Number(seconds) * 1000)
  },
  async release_objects({ environment }, [id = '']) {
    await releaseObjects(environment.coordinator, id)
  },
  take_snapshot: ({ transaction, environment, context }) =>
    takeSnapshot(transaction, environment, context),
  async replay_ddl({ transaction, environment, context, settings }, [entries = '[]']) {
    const replayed = JSON.parse(entries) as readonly DdlEntry[]
    await replayDdl(replayed, settings.session(), transaction, environment, context)
  },
  describe_database: async ({ environment, catalog }) => databaseFacts(environment, catalog),
  allocate_segments: ({ environment }, [count = '1']) =>
    environment.coordinator.allocateSegmentIds(Number(count)),
  async attach_segments({ environment, context, catalog }, [request = '{"shards":[]}']) {
    const { shards } = JSON.parse(request) as AttachRequest
    for (const shard of shards) {
      if (!catalog.tables.has(shard.tableId)) {
        throw new DatabaseError(
          SqlState.undefinedTable,
          `relation with OID ${shard.tableId} does not exist`,
        )
      }
      await environment.streaming.attach(shard, context)
    }
  },
}

/** @throws 0A000, 42501, 25001 */
export async function call(execution: Execution): Promise<Result> {
  const { catalog, parsed, settings } = execution
  const called = (parsed.tree['funccall'] ?? {}) as TreeNode
  const [schemaName, name = ''] = stringList(called['funcname'])
  const procedure = Object.hasOwn(procedures, name) ? procedures[name] : undefined
  if (schemaName !== 'elanus' || procedure === undefined) return await runBody(execution)
  refuseInBlock(execution, 'CALL')
  const { role, user } = settings.session()
  if (catalog.roles.get(role ?? user)?.superuser !== true) {
    throw new DatabaseError(
      SqlState.insufficientPrivilege,
      `permission denied for procedure ${name}`,
      { hint: 'Backup and restore are for superusers.' },
    )
  }
  const args = ((called['args'] ?? []) as readonly TreeNode[]).map(constantText)
  const answer = await procedure(execution, args)
  return answer === undefined ? commandResult('CALL') : textResult(name, JSON.stringify(answer))
}

function constantText(argument: TreeNode): string {
  const constant = argument['A_Const'] as TreeNode | undefined
  const text = (constant?.['sval'] as TreeNode | undefined)?.['sval']
  const number = (constant?.['ival'] as TreeNode | undefined)?.['ival']
  if (constant === undefined || (text ?? number) === undefined) {
    throw notSupported('arguments of this procedure must be constants')
  }
  return String(text ?? number)
}

function textResult(name: string, text: string): Result {
  const writer = new ByteWriter()
  writeDataRow(writer, [text])
  const field = { name, tableOid: 0, attnum: 0, typeOid: 25, typeSize: -1, typmod: -1 }
  return {
    fields: [{ ...field, format: 0 }],
    rows: [{ data: writer.take(), count: 1 }],
    tag: () => 'CALL',
  }
}
