/** All verdicts about a history file. */
import { type Bank, type BankVerdict, checkBank } from './check-bank.js'
import { checkIsolation, type IsolationVerdict } from './check-isolation.js'
import { readHistory } from './read-history.js'

export interface Verdicts {
  readonly bank: BankVerdict
  /** undefined: there is no checker. */
  readonly snapshot: IsolationVerdict | undefined
  readonly committed: IsolationVerdict | undefined
}

export async function judge(path: string, bank: Bank, hasChecker: boolean): Promise<Verdicts> {
  const history = await readHistory(path)
  return {
    bank: checkBank(history, bank),
    snapshot: hasChecker ? checkIsolation(history, 'snapshot', `${path}.snapshot`) : undefined,
    committed: hasChecker ? checkIsolation(history, 'committed', `${path}.committed`) : undefined,
  }
}
