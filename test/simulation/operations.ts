/** What clients do, by name. */
import { replaceTable, truncate } from './emptying.js'
import { look, search } from './reads.js'
import { isPassing, type Session } from './session.js'
import {
  addColumn,
  copyIn,
  draft,
  family,
  maintain,
  note,
  rename,
  transfer,
  vacuum,
} from './workload.js'

export type OperationName = keyof typeof operations

export const operations = {
  transfer,
  rename,
  family,
  copyIn,
  truncate,
  note,
  draft,
  replaceTable,
  look,
  search,
  addColumn,
  maintain,
  vacuum,
} as const satisfies Record<string, (session: Session) => Promise<void>>

/** @returns false when it could not be done now */
export async function perform(session: Session, operation: OperationName): Promise<boolean> {
  try {
    await operations[operation](session)
    session.world.count(`did ${operation}`)
    return true
  } catch (error) {
    if (session.world.violation !== undefined) return false
    if (!isPassing(error)) throw error
    session.world.count('operation failed')
    session.say(`${operation} failed: ${String(error)}`)
    return false
  }
}
