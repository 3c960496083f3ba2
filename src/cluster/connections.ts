/** One connection to each process of the cluster that was ever called; they are made when needed. */
import type { Runtime } from '#base/runtime.js'
import { type MadeCall, openRpcClient, type RpcClient } from '#net/rpc/rpc-client.js'
import type { RpcTls } from '#net/rpc/rpc-server.js'

export interface Connections {
  to(address: string): RpcClient
  /** For questions whose answer is worthless when it is late. */
  promptTo(address: string): RpcClient
  close(): void
}

/** A peer that is dead is noticed by pings; this is for one that lives and never answers. */
const deadlineMs = 10 * 60_000
const promptDeadlineMs = 5000

/** @param onCall told of each call that has ended */
export function openConnections(
  runtime: Runtime,
  tls: RpcTls | undefined,
  onCall: ((call: MadeCall) => void) | undefined,
): Connections {
  const clients = new Map<string, RpcClient>()

  function client(name: string, address: string, deadline: number): RpcClient {
    const key = `${name} ${address}`
    let found = clients.get(key)
    if (found === undefined) {
      found = openRpcClient({ address, tls, runtime, deadlineMs: deadline, onCall })
      clients.set(key, found)
    }
    return found
  }

  return {
    to: (address) => client('patient', address, deadlineMs),
    promptTo: (address) => client('prompt', address, promptDeadlineMs),
    close() {
      for (const one of clients.values()) one.close()
      clients.clear()
    },
  }
}
