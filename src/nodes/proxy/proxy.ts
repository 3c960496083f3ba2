/** The proxy: opens sessions and holds what they share. */
import { Mutex } from '#base/async/mutex.js'
import { backgroundContext, type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { OpenSession } from '#net/pgwire/session.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { ProxyLocks } from '#nodes/locks/contract.js'
import type { OtherProxies, ProxyNode } from '#nodes/proxy/contract.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import type { ProxyEnvironment, StatementReport } from '#nodes/proxy/environment.js'
import type { ClusterFacts } from '#nodes/proxy/live/cluster-facts.js'
import { openLiveTables } from '#nodes/proxy/live/live-tables.js'
import { TableCounters } from '#nodes/proxy/live/table-counters.js'
import { quoteIdentifier } from '#nodes/proxy/plan/expression.js'
import { PlanCache } from '#nodes/proxy/plan/plan-cache.js'
import { CatalogChanges } from '#nodes/proxy/session/catalog-changes.js'
import { commitTransaction } from '#nodes/proxy/session/commit.js'
import { acquireDdlLock } from '#nodes/proxy/session/ddl-lock.js'
import { DroppedTables } from '#nodes/proxy/session/dropped-tables.js'
import { Progress } from '#nodes/proxy/session/progress.js'
import { refreshCatalog } from '#nodes/proxy/session/refresh-catalog.js'
import { SessionRegistry } from '#nodes/proxy/session/registry.js'
import { ProxySession } from '#nodes/proxy/session/session.js'
import { Settings } from '#nodes/proxy/session/settings.js'
import { settleLostDdl } from '#nodes/proxy/session/settle-lost-ddl.js'
import { checkRequest, initialSettings } from '#nodes/proxy/session/start.js'
import { Transaction } from '#nodes/proxy/session/transaction.js'
import { Sequences } from '#nodes/proxy/statements/sequences.js'
import { judgeSetting } from '#nodes/proxy/statements/settings-statements.js'
import { nextFormVersion, toTableSchema } from '#nodes/proxy/statements/table-schema.js'
import type { Postgres } from '#postgres/contract.js'

export interface ProxyOptions {
  readonly postgres: Postgres
  readonly streaming: DistributedStreaming
  readonly coordinator: Coordinator
  readonly locks: ProxyLocks
  readonly runtime: Runtime
  /** How far back a read may go: what the streaming nodes keep. */
  readonly retentionMs: number
  /** Where objects lie, for backup. Empty: nobody says. */
  readonly objectsUrl?: string | undefined
  /** A user who connects without being known becomes a role: the local default, where everybody is trusted. */
  readonly createUnknownUsers: boolean
  /** Told when a statement has ended. */
  readonly onStatement?: ((report: StatementReport) => void) | undefined
  /** undefined: there are none. */
  readonly others?: OtherProxies | undefined
  /** What elanus.nodes and elanus.memory show. */
  readonly facts?: ClusterFacts | undefined
}

const proxyIdBytes = 12
const tablesPutAtOnce = 16

export async function openProxy(options: ProxyOptions): Promise<ProxyNode> {
  const environment: ProxyEnvironment = {
    postgres: options.postgres,
    streaming: options.streaming,
    coordinator: options.coordinator,
    runtime: options.runtime,
    retentionMs: options.retentionMs,
    objectsUrl: options.objectsUrl ?? '',
    live: await openLiveTables(options.postgres),
    tableCounters: new TableCounters(),
    facts: options.facts,
    plans: new PlanCache(),
    sequences: new Sequences(options.coordinator, options.others !== undefined),
    droppedTables: new DroppedTables(options),
    progress: new Progress(),
    locks: options.locks,
    proxyId: Buffer.from(options.runtime.randomBytes(proxyIdBytes)).toString('hex'),
    sessions: new SessionRegistry(),
    catalogChanges: new CatalogChanges(),
    ddlLock: new Mutex(),
    onStatement: options.onStatement,
    catalogLock: new Mutex(),
    others: options.others,
  }
  await inDdlTurn(environment, async () => {
    await putTables(environment)
    const catalog = environment.postgres.catalog()
    await environment.sequences.forgetUnknown(catalog.sequences)
    await environment.sequences.catchUp(catalog.sequences)
    await environment.droppedTables.recover(catalog)
  })
  const openSession: OpenSession = async (request, signal) => {
    checkRequest(request)
    if (!environment.postgres.catalog().roles.has(request.user)) {
      if (!options.createUnknownUsers) {
        throw new DatabaseError(
          SqlState.invalidAuthorizationSpecification,
          `role "${request.user}" does not exist`,
        )
      }
      await createRole(environment, request.user, { signal })
    }
    const initial = await initialSettings(request, (name, value) =>
      judgeSetting(
        environment,
        new Settings(request.user, new Map(), () => {}).session(),
        name,
        value,
      ),
    )
    return new ProxySession(environment, request, initial)
  }
  return {
    openSession,
    passwordVerifier: async (user) => {
      const stored = await options.coordinator.getSetting(`password/${user}`)
      return stored === undefined ? undefined : new TextDecoder().decode(stored)
    },
    refreshCatalog: (version) =>
      environment.catalogLock.run(async () => {
        const known = options.postgres.catalog().version
        if (version === undefined || version > known) await refreshCatalog(environment)
      }),
    notify: (processId, channel, payload) =>
      environment.sessions.notify(processId, channel, payload),
    sessions: () => environment.sessions.facts(),
    signal: (processId, signal) => environment.sessions.signal(processId, signal),
    endSessions(numbers) {
      for (const { number, client } of environment.sessions.entries())
        if (numbers.includes(number)) client.terminate(advisoryLocksLost())
    },
    async stop() {
      await environment.droppedTables.close()
      await environment.sequences.close()
    },
  }
}

function advisoryLocksLost(): DatabaseError {
  return new DatabaseError(
    SqlState.adminShutdown,
    'terminating connection: the advisory locks of the session were lost',
    { severity: 'FATAL', hint: 'The node that kept them was away. Connect again, and lock again.' },
  )
}

/** While nobody else changes the catalog, and with what others have changed. */
async function inDdlTurn(environment: ProxyEnvironment, work: () => Promise<void>): Promise<void> {
  const turn = await environment.others?.takeDdlTurn(backgroundContext)
  try {
    await environment.catalogLock.run(async () => {
      if (turn !== undefined) {
        await refreshCatalog(environment)
        // A proxy of a new database starts before there are streaming nodes; then the first DDL asks them.
        if (hasTables(environment)) await settleLostDdl(environment, backgroundContext)
      }
      await work()
    })
  } finally {
    await turn?.end()
  }
}

function hasTables({ postgres }: ProxyEnvironment): boolean {
  return [...postgres.catalog().tables.values()].some(({ kind }) => kind === 'table')
}

/**
 * Storage has the forms that the catalog says: what DDL that was cut short has given it is taken back, hence the version of
 * an attempt at the next catalog version.
 */
async function putTables(environment: ProxyEnvironment): Promise<void> {
  const catalog = environment.postgres.catalog()
  const version = await nextFormVersion(catalog.version + 1, environment.coordinator)
  const left = [...catalog.tables.values()].filter(({ kind }) => kind === 'table').values()
  let hasFailed = false
  const putNext = async (): Promise<void> => {
    for (const table of left) {
      if (hasFailed) return
      try {
        await environment.streaming.putTable(toTableSchema(table, version))
      } catch (error) {
        hasFailed = true
        throw error
      }
    }
  }
  // Each is a write of the meta store on every log channel: of many tables, many at a time.
  const outcomes = await Promise.allSettled(Array.from({ length: tablesPutAtOnce }, putNext))
  const failed = outcomes.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

async function createRole(
  environment: ProxyEnvironment,
  user: string,
  context: Context,
): Promise<void> {
  const settings = new Settings('postgres', new Map(), () => {})
  const transaction = new Transaction(
    'implicit',
    environment.runtime.nowMs(),
    'read committed',
    false,
  )
  try {
    // Who has left while waiting for the turn needs no role.
    await acquireDdlLock(transaction, environment, context)
    checkCancelled(context)
    if (environment.postgres.catalog().roles.has(user)) return
    const sql = `CREATE ROLE ${quoteIdentifier(user)} SUPERUSER LOGIN`
    const tried = await environment.postgres.tryDdl(sql, settings.session(), [])
    transaction.pendingDdl = [tried.result.entry]
    transaction.catalog = tried.catalog
    await commitTransaction(transaction, environment, backgroundContext, 0)
  } finally {
    transaction.releaseDdlLock()
  }
}
