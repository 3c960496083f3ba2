/** How every embedded instance is started; PGlite.defaultStartParams and what differs. */

/** Where PGlite keeps things in the instance's file system. */
export const prefixDirectory = '/pglite'
export const dataDirectory = '/pglite/data'

/**
 * Nothing in an instance outlives it: no fsync, little WAL. Small shared buffers halve the time to start and save
 * 100 MB; a miss costs one copy inside the process.
 */
const settings: Readonly<Record<string, string>> = {
  exit_on_error: 'false',
  log_checkpoints: 'false',
  max_worker_processes: '0',
  max_parallel_workers: '0',
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  io_method: 'sync',
  shared_buffers: '16MB',
  work_mem: '32MB',
  max_connections: '10',
  wal_level: 'minimal',
  max_wal_senders: '0',
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  autovacuum: 'off',
  track_activities: 'off',
  // Scans begin at the first page, always: rows are told apart by the order in which they were loaded.
  synchronize_seqscans: 'off',
  // PostgreSQL's own guard; the worker's stack is made larger than this.
  max_stack_depth: '2MB',
}

/** Settings of a session that never reach an instance: the proxy's business, or unsafe here. */
export const withheldSettings: ReadonlySet<string> = new Set([
  'client_encoding',
  'statement_timeout',
  'lock_timeout',
  'transaction_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'session_authorization',
  'role',
  'is_superuser',
  'transaction_isolation',
  'transaction_read_only',
  'transaction_deferrable',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
  'session_replication_role',
  'plan_cache_mode',
  'max_stack_depth',
  'log_statement',
])

export type InstanceKind = 'catalog' | 'evaluator'

/** Arguments of `postgres --single`; -F no fsync, -O system tables may change, -j no newline as delimiter. */
export function startParameters(): string[] {
  const out = ['--single', '-F', '-O', '-j']
  for (const [name, value] of Object.entries(settings)) out.push('-c', `${name}=${value}`)
  return out
}
