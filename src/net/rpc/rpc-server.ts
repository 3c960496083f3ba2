/**
 * Serves a node's contracts to other nodes over gRPC.
 *
 * A caller that goes away (cancel, deadline, lost connection) aborts the context of its call; an iterator is returned early.
 * Flow control: the next part of an iterator is asked for when the last one is on its way.
 */
import { once } from 'node:events'
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js'
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { encodeError } from '#net/rpc/error-codec.js'
import {
  messageBytesMax,
  nodeService,
  type RpcRequest,
  type RpcResponse,
} from '#net/rpc/node-service.js'
import { decodeValue, encodeValue } from '#net/rpc/value-codec.js'

/** The methods that travel, each with its arguments; the context comes apart. */
export type ServedContract = Readonly<Record<string, ServedMethod>>

type ServedMethod = (args: readonly unknown[], context: Context) => unknown

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

export interface ServedCall {
  readonly contract: string
  readonly object: string
  readonly method: string
  /** Of the statement it was for; '' for work that is nobody's. */
  readonly queryId: string
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
  /** Lets calls end until the deadline, then ends them. */
  stop(deadlineMs: number): Promise<void>
}

type Unary = ServerUnaryCall<RpcRequest, RpcResponse>
type Stream = ServerWritableStream<RpcRequest, RpcResponse>

export async function openRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.max_send_message_length': messageBytesMax,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.http2.min_ping_interval_without_data_ms': 500,
    // A caller that is gone without a word: its calls end.
    'grpc.keepalive_time_ms': 5000,
    'grpc.keepalive_timeout_ms': 5000,
  })
  server.addService(nodeService, {
    call(call: Unary, done: sendUnaryData<RpcResponse>) {
      told(options, call.request, (method) => answer(call, method))
        .then(
          (value) => ({ value: encodeValue(value) }),
          (error: unknown) => ({ error: encodeError(error) }),
        )
        .then(
          (response) => done(null, response),
          (error: unknown) => done(null, { error: encodeError(error) }),
        )
    },
    stream(call: Stream) {
      told(options, call.request, (method) => pour(call, method)).then(
        () => call.end(),
        (error: unknown) => {
          call.write({ error: encodeError(error) })
          call.end()
        },
      )
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

async function told<T>(
  options: RpcServerOptions,
  request: RpcRequest,
  work: (method: ServedMethod) => Promise<T>,
): Promise<T> {
  const { onCall, runtime } = options
  const startedMs = runtime.monotonicMs()
  // Anybody may make names up: they are not to become names of metrics.
  let [contract, name] = ['unknown', 'unknown']
  const tell = (error: unknown): void => {
    const { object, queryId } = request
    const ms = runtime.monotonicMs() - startedMs
    onCall?.({ contract, object, method: name, queryId, ms, error })
  }
  try {
    const method = lookUp(options, request)
    contract = request.contract
    name = request.method
    const result = await work(method)
    tell(undefined)
    return result
  } catch (error) {
    tell(error)
    throw error
  }
}

async function answer(call: Unary, method: ServedMethod): Promise<unknown> {
  return await invoke(method, call.request, contextOf(call))
}

async function pour(call: Stream, method: ServedMethod): Promise<void> {
  const context = contextOf(call)
  const parts = invoke(method, call.request, context) as AsyncGenerator<unknown, unknown>
  try {
    for (;;) {
      const { value, done } = await parts.next()
      if (call.cancelled) return
      const isLast = done === true
      const hasRoom = call.write({ value: encodeValue(value), isLast })
      if (isLast) return
      // A stream that ends while it is full drains no more: the caller has gone.
      if (!hasRoom) await Promise.race([once(call, 'drain'), aborted(context.signal)])
    }
  } finally {
    await parts.return(undefined)
  }
}

function lookUp(options: RpcServerOptions, request: RpcRequest): ServedMethod {
  const { contract, object, method } = request
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

function invoke(method: ServedMethod, request: RpcRequest, context: Context): unknown {
  const args = decodeValue(request.arguments ?? new Uint8Array())
  if (!Array.isArray(args)) {
    throw new DatabaseError(SqlState.protocolViolation, 'arguments are no array')
  }
  return method(args, context)
}

function contextOf(call: Unary | Stream): Context {
  const controller = new AbortController()
  call.on('cancelled', () => {
    const words = 'canceling statement due to user request'
    controller.abort(new DatabaseError(SqlState.queryCanceled, words))
  })
  const { queryId } = call.request
  return { signal: controller.signal, queryId: queryId === '' ? undefined : queryId }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
