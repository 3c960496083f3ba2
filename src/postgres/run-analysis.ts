/** Describe and EXPLAIN over empty tables. */
import { BackendType } from '#net/pgwire/backend.js'
import {
  BackendMessages,
  parseParameterDescription,
  parseRowDescription,
} from '#net/pgwire/backend-parse.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { writeDescribe, writeParse, writeQuery, writeSync } from '#net/pgwire/frontend-encode.js'
import type { Description, Statement } from '#postgres/contract.js'
import { type Embedded, firstColumn, throwFirstError } from '#postgres/embedded.js'

const statementName = 'elanus_explained'

/** In the open transaction. @throws DatabaseError */
export function describeStatement(embedded: Embedded, statement: Statement): Description {
  const writer = new ByteWriter(statement.sql.length + 256)
  writeParse(writer, '', statement.sql, statement.parameterTypes)
  writeDescribe(writer, 'statement', '')
  writeSync(writer)
  const answer = embedded.exchange(writer.view())
  throwFirstError(answer)
  return readDescription(answer)
}

function readDescription(answer: Uint8Array): Description {
  let parameterTypes: number[] = []
  let fields: Description['fields'] = []
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    if (messages.type === BackendType.parameterDescription) {
      parameterTypes = parseParameterDescription(messages.payload())
    }
    if (messages.type === BackendType.rowDescription) {
      fields = parseRowDescription(messages.payload()).map(
        ({ name, tableOid, attnum, typeOid, typeSize, typmod }) => ({
          name,
          tableOid,
          attnum,
          typeOid,
          typeSize,
          typmod,
        }),
      )
    }
  }
  return { parameterTypes, fields }
}

/**
 * The generic plan, parameters as $n, every scan a sequential one. EXPLAIN (GENERIC_PLAN) cannot be told the client's
 * parameter types, EXECUTE of a prepared statement can. In the open transaction; returns the JSON. @throws DatabaseError
 */
export function explainStatement(embedded: Embedded, statement: Statement): string {
  const plan = explainPrepared(embedded, statement)
  if (!plan.includes('"Subplans Removed"')) return plan
  // Partitions were left out for the NULLs that stand for the parameters; other values need others.
  embedded.run('SET LOCAL enable_partition_pruning = off')
  try {
    return explainPrepared(embedded, statement)
  } finally {
    embedded.run('SET LOCAL enable_partition_pruning = on')
  }
}

function explainPrepared(embedded: Embedded, statement: Statement): string {
  const writer = new ByteWriter(statement.sql.length + 512)
  writeParse(writer, statementName, statement.sql, statement.parameterTypes)
  writeDescribe(writer, 'statement', statementName)
  writeSync(writer)
  const prepared = embedded.exchange(writer.view())
  throwFirstError(prepared)
  const { parameterTypes } = readDescription(prepared)
  try {
    const nulls =
      parameterTypes.length === 0 ? '' : `(${parameterTypes.map(() => 'NULL').join(', ')})`
    const query = new ByteWriter()
    writeQuery(
      query,
      `SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
       SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
       EXPLAIN (VERBOSE, FORMAT JSON, COSTS OFF) EXECUTE ${statementName}${nulls}`,
    )
    const answer = embedded.exchange(query.view())
    throwFirstError(answer)
    return firstColumn(answer)[0] ?? '[]'
  } finally {
    embedded.exchange(closeStatement())
  }
}

/** Works in a failed transaction too, where DEALLOCATE would not. */
function closeStatement(): Uint8Array {
  const writer = new ByteWriter()
  writer.begin(0x43)
  writer.uint8(0x53)
  writer.cString(statementName)
  writer.end()
  writeSync(writer)
  return writer.view()
}
