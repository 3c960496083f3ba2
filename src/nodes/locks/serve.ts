/** The lock service as other processes call it; remote.ts is the other side. */

import type { ServedContract } from '#net/rpc/calls-served.js'
import { serveLong } from '#net/rpc/long-call.js'
import type { LockRequest, LockService, ReleaseRequest } from '#nodes/locks/contract.js'

export function serveLocks(locks: LockService): ServedContract {
  return {
    attempt: ([request], context) => locks.attempt(request as LockRequest, context),
    // As long as the lock is held.
    wait: ([request], context) => serveLong(() => locks.wait(request as LockRequest, context)),
    taken: ([request]) => locks.taken(request as Parameters<LockService['taken']>[0]),
    release: ([request]) => locks.release(request as ReleaseRequest),
    renew: ([proxy]) => locks.renew(proxy as string),
    list: ([limit]) => locks.list(limit as number),
  }
}
