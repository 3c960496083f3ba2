/**
 * Serves a node's contracts to other nodes over gRPC.
 *
 * A caller that goes away (cancel, deadline, lost connection) aborts the context of its call; an iterator is returned early.
 * Flow control: an iterator's next part is asked for when the last one is on its way and the caller wants another.
 */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import {
  type Called,
  CallsServed,
  type Serve,
  type ServedContract,
  type ServedMethod,
} from '#net/rpc/calls-served.js'
import { type Frame, frameBytesMax, nodeService, windowBytes } from '#net/rpc/node-service.js'

export interface RpcServerOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly tls: RpcTls | undefined
  readonly runtime: Runtime
  /** The object that a call means; undefined: this node has none of that name (now). */
  readonly find: (contract: string, object: string) => ServedContract | undefined
  /** Told when a call has ended; of what this node does not serve, contract and method are 'unknown'. */
  readonly onCall?: ((call: ServedCall) => void) | undefined
}

export interface ServedCall extends Called {
  readonly ms: number
  /** What it threw. */
  readonly error: unknown
}

/** PEM. Both sides show a certificate of the same authority. */
export interface RpcTls {
  readonly authority: Buffer
  readonly certificate: Buffer
  readonly key: Buffer
}

export interface RpcServer {
  readonly port: number
  /** Begins no call any more; lets calls end until the deadline, then ends them. */
  stop(deadlineMs: number): Promise<void>
}

export async function openRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': 2 * frameBytesMax,
    'grpc-node.flow_control_window': windowBytes,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.http2.min_ping_interval_without_data_ms': 500,
    // A caller that is gone without a word: its calls end.
    'grpc.keepalive_time_ms': 5000,
    'grpc.keepalive_timeout_ms': 5000,
  })
  const exchanges = new Set<CallsServed>()
  let isStopping = false
  server.addService(nodeService, {
    exchange(stream: ServerDuplexStream<Frame, Frame>) {
      const served = new CallsServed(stream, (called, work) => serve(options, called, work))
      exchanges.add(served)
      for (const end of ['close', 'cancelled']) stream.on(end, () => exchanges.delete(served))
      if (isStopping) served.stop()
    },
  })
  const { host, port, tls } = options
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          tls.authority,
          [{ cert_chain: tls.certificate, private_key: tls.key }],
          true,
        )
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, credentials, (error, found) =>
      error === null ? resolve(found) : reject(error),
    )
  })
  return {
    port: bound,
    async stop(deadlineMs) {
      isStopping = true
      for (const served of exchanges) served.stop()
      const ended = new AbortController()
      options.runtime.sleep(deadlineMs, ended.signal).then(
        () => server.forceShutdown(),
        () => {},
      )
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      ended.abort()
    },
  }
}

async function serve(
  options: RpcServerOptions,
  called: Called,
  work: Parameters<Serve>[1],
): Promise<void> {
  const { onCall, runtime } = options
  const startedMs = runtime.monotonicMs()
  // Anybody may make names up: they are not to become names of metrics.
  let [contract, method] = ['unknown', 'unknown']
  const tell = (error: unknown): void => {
    const { object, queryId } = called
    onCall?.({ contract, object, method, queryId, ms: runtime.monotonicMs() - startedMs, error })
  }
  try {
    const found = lookUp(options, called)
    contract = called.contract
    method = called.method
    await work(found)
    tell(undefined)
  } catch (error) {
    tell(error)
    throw error
  }
}

function lookUp(options: RpcServerOptions, { contract, object, method }: Called): ServedMethod {
  const served = options.find(contract, object)
  if (served === undefined) {
    throw new DatabaseError(
      SqlState.cannotConnectNow,
      `this node does not have ${contract} ${object}`.trimEnd(),
    )
  }
  const found = Object.hasOwn(served, method) ? served[method] : undefined
  if (found === undefined) {
    throw new DatabaseError(SqlState.protocolViolation, `${contract} has no method ${method}`)
  }
  return found
}
