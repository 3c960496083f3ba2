/** The start of a session: its first settings, and what the client is told. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import type { SessionRequest } from '#net/pgwire/session.js'
import { parseStartupOptions } from '#net/pgwire/startup-options.js'
import {
  isNativeSetting,
  judgeNativeSetting,
  type Settings,
} from '#nodes/proxy/session/settings.js'
import type { CatalogSnapshot } from '#postgres/contract.js'

/** Databases a client may name. The user's own name is psql's default and means the same. */
const databases = new Set(['postgres', 'elanus'])

/** @throws DatabaseError 3D000, 0A000 */
export function checkRequest(request: SessionRequest): void {
  if (request.parameters.has('replication') && request.parameters.get('replication') !== 'false') {
    throw notSupported('replication connections are not supported')
  }
  if (!databases.has(request.database) && request.database !== request.user) {
    throw new DatabaseError(
      SqlState.invalidCatalogName,
      `database "${request.database}" does not exist`,
      {
        hint: 'There is one database, "postgres".',
      },
    )
  }
}

/**
 * Settings from the start-up packet: parameters and options=-c name=value.
 * @param judge PostgreSQL's verdict on a value, for what is not plainly right
 */
export async function initialSettings(
  request: SessionRequest,
  judge: (name: string, value: string) => Promise<string>,
): Promise<ReadonlyMap<string, string>> {
  const given = new Map<string, string>()
  for (const [name, value] of request.parameters) {
    if (name === 'options')
      for (const [key, option] of parseStartupOptions(value)) given.set(key.toLowerCase(), option)
    else if (name !== 'user' && name !== 'database' && name !== 'replication')
      given.set(name.toLowerCase(), value)
  }
  const settings = new Map<string, string>()
  for (const [name, value] of given) {
    if (name === 'client_encoding') {
      checkEncoding(value)
      continue
    }
    settings.set(
      name,
      isNativeSetting(name)
        ? judgeNativeSetting(name, value)
        : (plain(name, value) ?? (await judge(name, value))),
    )
  }
  return settings
}

function checkEncoding(value: string): void {
  if (/^'?(utf-?8|unicode|sql_ascii)'?$/i.test(value)) return
  throw notSupported(`client_encoding "${value}" is not supported`, 'Use UTF8.')
}

/** Values nearly every client sends, known to be right as they are. */
function plain(name: string, value: string): string | undefined {
  if (name === 'application_name') return value
  if (name === 'datestyle' && /^iso(, ?mdy)?$/i.test(value)) return 'ISO, MDY'
  if (name === 'timezone' && /^(utc|etc\/utc|gmt)$/i.test(value)) return value
  if (name === 'extra_float_digits' && /^[0-3]$/.test(value)) return value
  return undefined
}

/** ParameterStatus messages of the start. */
export function serverParameters(
  settings: Settings,
  catalog: CatalogSnapshot,
): readonly (readonly [string, string])[] {
  const superuser = catalog.roles.get(settings.user)?.superuser === true
  return [
    ['server_version', '18.6'],
    ['server_encoding', 'UTF8'],
    ['client_encoding', 'UTF8'],
    ['application_name', settings.get('application_name') ?? ''],
    ['default_transaction_read_only', settings.get('default_transaction_read_only') ?? 'off'],
    ['in_hot_standby', 'off'],
    ['is_superuser', superuser ? 'on' : 'off'],
    ['session_authorization', settings.user],
    ['DateStyle', settings.get('datestyle') ?? 'ISO, MDY'],
    ['IntervalStyle', settings.get('intervalstyle') ?? 'postgres'],
    ['TimeZone', settings.get('timezone') ?? 'UTC'],
    ['integer_datetimes', 'on'],
    ['standard_conforming_strings', settings.get('standard_conforming_strings') ?? 'on'],
    ['scram_iterations', '4096'],
    ['search_path', settings.get('search_path') ?? '"$user", public'],
  ]
}
