import type { Context } from '#base/context.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { refreshCatalog } from '#nodes/proxy/session/refresh-catalog.js'
import { settleLostDdl } from '#nodes/proxy/session/settle-lost-ddl.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'

const holders = new WeakSet<Transaction>()

/** One transaction with DDL at a time: the catalog it builds on stays what it was, object identifiers included. */
export async function acquireDdlLock(
  transaction: Transaction,
  environment: ProxyEnvironment,
  context: Context,
): Promise<void> {
  if (holders.has(transaction)) return
  await new Promise<void>((resolve, reject) => {
    let cancelled = false
    const cancel = (): void => {
      cancelled = true
      reject(context.signal.reason as Error)
    }
    context.signal.addEventListener('abort', cancel, { once: true })
    environment.ddlLock
      .run(async () => {
        if (cancelled) return
        const turn = await environment.others?.takeDdlTurn(context)
        context.signal.removeEventListener('abort', cancel)
        try {
          await environment.catalogLock.run(async () => {
            if (turn !== undefined) {
              await refreshCatalog(environment)
              const number = await settleLostDdl(environment, context)
              transaction.ddlTurn = { number, isHeld: turn.isHeld }
            }
            if (cancelled) return
            await new Promise<void>((release) => {
              transaction.atEnd.push(release)
              resolve()
            })
          })
        } finally {
          await turn?.end()
        }
      })
      .catch(reject)
  })
  holders.add(transaction)
}
