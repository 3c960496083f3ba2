/**
 * A connection to one node, made when it is needed and made again when it is lost.
 *
 * gRPC does not give up connecting, and calls wait for it. Where packets are lost TCP tries again later and later, so that even
 * when they are lost no more the connection may be half a minute away: a hanging attempt is given up for a new one.
 */
import { type ChannelOptions, connectivityState, credentials } from '@grpc/grpc-js'
import { UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { CallsInFlight } from '#net/rpc/calls-in-flight.js'
import {
  frameBytesMax,
  type NodeClient,
  NodeClientConstructor,
  windowBytes,
} from '#net/rpc/node-service.js'
import type { RpcTls } from '#net/rpc/rpc-server.js'

export interface ConnectionOptions {
  /** host:port */
  readonly address: string
  readonly tls: RpcTls | undefined
  readonly runtime: Runtime
}

export interface Connection {
  /** Ready, or known to be refused: then calls say so. @throws UnreachableError determinate */
  reached(): CallsInFlight | Promise<CallsInFlight>
  /** Calls under way end. */
  close(): void
}

/** A peer that does not answer pings for so long is gone: below the seconds within which reads must be back. */
const pingAfterMs = 1000
const pingTimeoutMs = 2000

/** Of an attempt to connect: answers within a machine room take a thousandth of that. */
const connectWithinMs = 1500

const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': 2 * frameBytesMax,
  'grpc.keepalive_time_ms': pingAfterMs,
  'grpc.keepalive_timeout_ms': pingTimeoutMs,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc-node.flow_control_window': windowBytes,
  // What may be repeated is known to those who call.
  'grpc.enable_retries': 0,
  // Not one connection for all nodes' clients of a process.
  'grpc.use_local_subchannel_pool': 1,
}

export function openConnection({ address, tls, runtime }: ConnectionOptions): Connection {
  const security =
    tls === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(tls.authority, tls.key, tls.certificate)
  const open = () =>
    new NodeClientConstructor(address, security, channelOptions) as unknown as NodeClient
  let client = open()
  let calls: CallsInFlight | undefined
  let attempt: Promise<CallsInFlight> | undefined
  let isClosed = false

  function exchange(): CallsInFlight {
    if (calls === undefined || calls.isOver) {
      calls = new CallsInFlight(client.exchange(), address, runtime)
    }
    return calls
  }

  async function connect(): Promise<CallsInFlight> {
    const trying = client
    const deadlineMs = runtime.nowMs() + connectWithinMs
    for (;;) {
      const state = trying.getChannel().getConnectivityState(true)
      if (state !== connectivityState.IDLE && state !== connectivityState.CONNECTING) {
        return exchange()
      }
      if (await changes(trying, state, deadlineMs)) continue
      if (!isClosed) client = open()
      trying.close()
      const words = `node ${address} does not answer: no connection within ${connectWithinMs} ms`
      throw new UnreachableError('determinate', words)
    }
  }

  return {
    reached() {
      if (isClosed) {
        throw new UnreachableError('determinate', `the connection to node ${address} is closed`)
      }
      const state = client.getChannel().getConnectivityState(false)
      if (state === connectivityState.READY) return exchange()
      attempt ??= connect().finally(() => {
        attempt = undefined
      })
      return attempt
    },
    close() {
      isClosed = true
      calls?.close()
      client.close()
    },
  }
}

/** False: not until the deadline. */
function changes(
  client: NodeClient,
  from: connectivityState,
  deadlineMs: number,
): Promise<boolean> {
  return new Promise((resolve) => {
    client
      .getChannel()
      .watchConnectivityState(from, deadlineMs, (error) => resolve(error === undefined))
  })
}
