/**
 * ★ COPY table FROM STDIN: bytes are parsed into columns off the event loop, logged in blocks as they arrive (invisible
 * until committed) and become visible with the commit. What only PostgreSQL can do (CHECK, triggers, generated columns,
 * types without a native parser) takes the longer way: PostgreSQL runs the COPY and we keep the rows it made.
 */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { type CopyBlock, native } from '#engine/index/native.js'
import { spansShards } from '#nodes/proxy/distribute/layout.js'
import { conflictError, findConflict } from '#nodes/proxy/statements/check-keys.js'
import { checkNotNull } from '#nodes/proxy/statements/check-not-null.js'
import { checkPrivilege } from '#nodes/proxy/statements/check-privilege.js'
import { convertBinary, convertText } from '#nodes/proxy/statements/convert-column.js'
import { type CopyOptions, copyOptions } from '#nodes/proxy/statements/copy-options.js'
import { evaluateWhole } from '#nodes/proxy/statements/evaluate-changes.js'
import { chooseReadTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
import {
  capturedRows,
  defaultsFor,
  needsPostgres,
} from '#nodes/proxy/statements/insert-defaults.js'
import { runUntilSettled, targetTables } from '#nodes/proxy/statements/modify.js'
import { routedTable, storedColumns } from '#nodes/proxy/statements/read-rows.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import { StagedTableRows } from '#nodes/proxy/statements/staged-table-rows.js'
import type { TableColumn, TableInfo } from '#postgres/contract.js'

/** Input is parsed in blocks of about this size: large enough to amortise a call, small enough to overlap with the log. */
const blockBytes = 2 * 1024 * 1024

/** Copies into PostgreSQL are evaluated in one piece. */
const evaluatedBytesMax = 1024 * 1024 * 1024

export async function copyIn(execution: Execution): Promise<Result> {
  const { out, transaction } = execution
  const options = copyOptions(execution)
  const { table } = options
  if (transaction.readOnly)
    throw new DatabaseError('25006', 'cannot execute COPY FROM in a read-only transaction')
  await checkPrivilege(execution, table, 'INSERT')
  const format = options.format === 'binary' ? 'binary' : 'text'
  const chunks = out.copyIn(format, options.columns.length)
  const rowCount =
    table.kind === 'partitioned' || needsPostgres(table, options.columns) || !nativeOptions(options)
      ? await copyThroughPostgres(execution, chunks, options)
      : await copyNatively(execution, chunks, options)
  return commandResult(`COPY ${rowCount}`)
}

/** Types whose length modifier an explicit cast would apply by cutting: PostgreSQL's own COPY refuses instead. */
const cutByCast = new Set(['bpchar', 'bit', 'varbit', 'interval'])

function nativeOptions(options: CopyOptions): boolean {
  return (
    options.plain &&
    options.columns.every((column) => !(cutByCast.has(column.typeName) && column.typmod >= 0))
  )
}

async function copyNatively(
  execution: Execution,
  chunks: AsyncIterable<Uint8Array>,
  options: CopyOptions,
): Promise<number> {
  const { table } = options
  const { transaction, environment } = execution
  // Inside a transaction block the rows must be seen by its later statements: they stay with the transaction.
  const staged =
    transaction.kind === 'implicit' && !transaction.hasWrites(table.oid) && canStage(table)
      ? new StagedTableRows(execution, table)
      : undefined
  const stored = storedColumns(table).map((column) => column.attnum)
  const progress = environment.progress.begin('copy from', execution.memory.processId, table)
  let total = 0
  let bytes = 0
  try {
    for await (const raw of parseBlocks(chunks, options)) {
      const block = await convertBlock(execution, options, raw)
      const batch = await completeRows(execution, table, options.columns, block)
      checkNotNull(table, batch)
      if (staged !== undefined) {
        await staged.append(batch)
      } else {
        const conflict = await findConflict(execution, table, batch, [])
        if (conflict !== undefined) throw conflictError(table, conflict, execution.settings)
        transaction.overlay(table.oid).insert(batch, stored)
      }
      total += batch.rowCount
      environment.tableCounters.of(table.oid).inserted += batch.rowCount
      bytes += block.consumed
      progress.update(total, bytes)
      execution.context.signal.throwIfAborted()
    }
  } catch (error) {
    await staged?.abort()
    throw error
  } finally {
    progress.end()
  }
  if (staged !== undefined) transaction.staged.push(...staged.tables())
  return total
}

/** A key whose rows may lie in any shard is judged for all rows at commit: they stay with the transaction until then. */
function canStage(table: TableInfo): boolean {
  const routed = routedTable(table)
  return !table.keys.some((key) => spansShards(routed, key))
}

/** Whole rows, block by block; the next block is read while the last one is parsed. */
async function* parseBlocks(
  chunks: AsyncIterable<Uint8Array>,
  options: CopyOptions,
): AsyncGenerator<CopyBlock> {
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  let headerRead = options.format !== 'binary'
  let skipLine = options.format !== 'binary' && options.header
  let line = skipLine ? 1 : 0
  let ended = false
  let failed: DatabaseError | undefined
  const take = async (final: boolean): Promise<CopyBlock | undefined> => {
    let input =
      pending.length === 1 && pending[0] !== undefined ? pending[0] : Buffer.concat(pending)
    if (!headerRead) {
      const start = binaryHeaderLength(input)
      if (start === undefined) {
        if (final)
          throw new DatabaseError(SqlState.badCopyFileFormat, 'COPY file signature not recognized')
        return undefined
      }
      input = input.subarray(start)
      headerRead = true
    }
    if (skipLine) {
      const newline = input.indexOf(10)
      if (newline < 0 && !final) return undefined
      input = newline < 0 ? input.subarray(input.length) : input.subarray(newline + 1)
      skipLine = false
    }
    const block =
      options.format === 'binary'
        ? await native.parseCopyBinary(input, options.columns)
        : await native.parseCopyText(input, options.columns, options.text, final)
    const rest = input.subarray(block.consumed)
    pending = rest.length === 0 ? [] : [rest]
    pendingBytes = rest.length
    ended = block.ended
    if (block.error !== undefined) {
      // Rows before the bad one may hold values that only PostgreSQL refuses: its error would come first.
      failed = copyError(block.error, options, line)
      return block
    }
    if (final && options.format === 'binary' && !block.ended && rest.length > 0) {
      throw new DatabaseError(SqlState.badCopyFileFormat, 'unexpected EOF in COPY data')
    }
    line += block.rowCount
    return block
  }
  let target = blockBytes
  for await (const chunk of chunks) {
    if (ended) continue
    pending.push(chunk)
    pendingBytes += chunk.length
    if (pendingBytes < target) continue
    const block = await take(false)
    // A row longer than the block: read on until it is whole.
    target = block === undefined || block.rowCount === 0 ? pendingBytes * 2 : blockBytes
    if (block !== undefined && block.rowCount > 0) yield block
    if (failed !== undefined) throw failed
  }
  if (!ended && (pendingBytes > 0 || !headerRead)) {
    const block = await take(true)
    if (block !== undefined && block.rowCount > 0) yield block
    if (failed !== undefined) throw failed
  }
}

/** Columns that the codecs left to PostgreSQL. */
async function convertBlock(
  execution: Execution,
  options: CopyOptions,
  block: CopyBlock,
): Promise<CopyBlock> {
  const columns: Column[] = []
  for (const [i, column] of block.columns.entries()) {
    const target = options.columns[i]
    if (target !== undefined && block.textual?.[i] === true)
      columns.push(await convertText(execution, column, target))
    else if (target !== undefined && block.unchecked?.[i] === true)
      columns.push(await convertBinary(execution, column, target))
    else columns.push(column)
  }
  return { ...block, columns }
}

const signature = Uint8Array.of(0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00)

/** PGCOPY\n\377\r\n\0, int32 flags, int32 extension length, extension. undefined: not all here yet. */
function binaryHeaderLength(input: Uint8Array): number | undefined {
  if (input.length < 19) return undefined
  if (!signature.every((byte, i) => input[i] === byte)) {
    throw new DatabaseError(SqlState.badCopyFileFormat, 'COPY file signature not recognized')
  }
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  if ((view.getUint32(11) & 0xffff0000) !== 0) {
    throw new DatabaseError(
      SqlState.badCopyFileFormat,
      'unrecognized critical flags in COPY file header',
    )
  }
  const extension = view.getUint32(15)
  return input.length < 19 + extension ? undefined : 19 + extension
}

function copyError(
  error: NonNullable<CopyBlock['error']>,
  options: CopyOptions,
  line: number,
): DatabaseError {
  const column = options.columns[error.column]
  const where = `COPY ${options.table.name}, line ${line + error.row + 1}${column === undefined ? '' : `, column ${column.name}`}`
  return new DatabaseError(error.sqlState, error.message, {
    where,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
  })
}

/** Columns that were not copied get their defaults. */
async function completeRows(
  execution: Execution,
  table: TableInfo,
  copied: readonly TableColumn[],
  block: CopyBlock,
): Promise<ColumnBatch> {
  const stored = storedColumns(table)
  if (
    stored.length === copied.length &&
    stored.every((column, i) => column.attnum === copied[i]?.attnum)
  ) {
    return { rowCount: block.rowCount, columns: block.columns }
  }
  const missing = stored.filter((column) => copied.every((other) => other.attnum !== column.attnum))
  const defaults = await defaultsFor(execution, missing, () => block.rowCount)
  const columns = stored.map((column): Column => {
    const at = copied.findIndex((other) => other.attnum === column.attnum)
    const given = block.columns[at]
    if (at >= 0 && given !== undefined) return given
    const builder = createColumnBuilder(column.kind, column.width, block.rowCount)
    const values = defaults.get(column.attnum)
    for (let row = 0; row < block.rowCount; row += 1) {
      builder.appendDatum(values === undefined ? null : (values[row % values.length] ?? null))
    }
    return builder.finish()
  })
  return { rowCount: block.rowCount, columns }
}

async function copyThroughPostgres(
  execution: Execution,
  chunks: AsyncIterable<Uint8Array>,
  options: CopyOptions,
): Promise<number> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks) {
    pieces.push(chunk)
    size += chunk.length
    if (size > evaluatedBytesMax) {
      throw notSupported(
        'COPY of more than 1 GiB into a table with checks, triggers or generated columns is not supported',
        'Split the input.',
      )
    }
  }
  const tables = targetTables(execution)
  const captured = tables.length > 0 ? tables : [options.table]
  const readAt = await chooseReadTimestamp(execution)
  const asStatement = { capture: captured, foreignKeysOn: false, copyData: Buffer.concat(pieces) }
  const result = await runUntilSettled(execution, [], captured, readAt, (rows, sequences) =>
    evaluateWhole(execution, rows, sequences, asStatement),
  )
  if (result === undefined)
    throw new DatabaseError(
      SqlState.serializationFailure,
      'could not serialize access due to concurrent update',
    )
  return capturedRows(result)
}
