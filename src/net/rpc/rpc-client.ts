/**
 * Calls another node's contracts over gRPC. One connection per node; it is made when it is needed and made again when it is lost.
 * No answer is an UnreachableError: determinate when the request was certainly not sent.
 */
import {
  type ChannelOptions,
  type ClientReadableStream,
  connectivityState,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { type Context, checkCancelled } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { decodeError } from '#net/rpc/error-codec.js'
import {
  messageBytesMax,
  type NodeClient,
  NodeClientConstructor,
  type RpcRequest,
  type RpcResponse,
} from '#net/rpc/node-service.js'
import type { RpcTls } from '#net/rpc/rpc-server.js'
import { decodeValue, encodeValue } from '#net/rpc/value-codec.js'

export interface RpcTarget {
  readonly contract: string
  /** Which of the node's objects; '' when it has one. */
  readonly object: string
}

export interface RpcClient {
  /** @throws what the method threw; UnreachableError; the signal's reason */
  call(
    target: RpcTarget,
    method: string,
    args: readonly unknown[],
    context: Context,
  ): Promise<unknown>
  /** An async iterator's parts, and what it returns. */
  stream(
    target: RpcTarget,
    method: string,
    args: readonly unknown[],
    context: Context,
  ): AsyncGenerator<unknown, unknown, undefined>
  close(): void
}

export interface RpcClientOptions {
  /** host:port */
  readonly address: string
  readonly tls: RpcTls | undefined
  readonly runtime: Runtime
  /** Of one call; none for streams. A node that is dead is noticed earlier, by pings. */
  readonly deadlineMs: number
  /** Told when a call has ended. */
  readonly onCall?: ((call: MadeCall) => void) | undefined
}

export interface MadeCall {
  readonly contract: string
  readonly method: string
  /** From the request until the answer is read; of a stream, its last part. */
  readonly ms: number
  readonly failed: boolean
}

/** A peer that does not answer pings for so long is gone: below the seconds within which reads must be back. */
const pingAfterMs = 1000
const pingTimeoutMs = 2000

/** Of an attempt to connect: answers within a machine room take a thousandth of that. */
const connectWithinMs = 1500

const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  'grpc.keepalive_time_ms': pingAfterMs,
  'grpc.keepalive_timeout_ms': pingTimeoutMs,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  // Not one connection for all nodes' clients of a process.
  'grpc.use_local_subchannel_pool': 1,
}

export function openRpcClient(options: RpcClientOptions): RpcClient {
  const { address, runtime, deadlineMs } = options
  const connection = openConnection(options)
  return {
    async call(target, method, args, context) {
      const tell = begin(options, target, method)
      try {
        const result = await callOnce(target, method, args, context)
        tell(false)
        return result
      } catch (error) {
        tell(true)
        throw error
      }
    },
    async *stream(target, method, args, context) {
      const tell = begin(options, target, method)
      let failed = true
      try {
        checkCancelled(context)
        const client = await connection.reached()
        const stream = client.stream(requestOf(target, method, args, context))
        // Nobody reads it any more, or not yet: the error that it ends with is nobody's, and must not end the process.
        stream.on('error', () => {})
        const last = yield* receive(stream, address, context)
        failed = false
        return last
      } finally {
        tell(failed)
      }
    },
    close: () => connection.close(),
  }

  async function callOnce(
    target: RpcTarget,
    method: string,
    args: readonly unknown[],
    context: Context,
  ): Promise<unknown> {
    checkCancelled(context)
    const client = await connection.reached()
    return await new Promise((resolve, reject) => {
      checkCancelled(context)
      const deadline = runtime.nowMs() + deadlineMs
      const call = client.call(
        requestOf(target, method, args, context),
        new Metadata(),
        { deadline },
        (error, response) => {
          context.signal.removeEventListener('abort', cancel)
          if (error !== null)
            reject(context.signal.aborted ? context.signal.reason : lost(address, error))
          else settle(response ?? {}, resolve, reject)
        },
      )
      const cancel = () => call.cancel()
      context.signal.addEventListener('abort', cancel, { once: true })
    })
  }
}

function begin(
  { onCall, runtime }: RpcClientOptions,
  { contract }: RpcTarget,
  method: string,
): (failed: boolean) => void {
  if (onCall === undefined) return () => {}
  const startedMs = runtime.monotonicMs()
  return (failed) => onCall({ contract, method, ms: runtime.monotonicMs() - startedMs, failed })
}

interface Connection {
  /** Ready, or known to be refused: then the call says so. @throws UnreachableError determinate */
  reached(): Promise<NodeClient>
  close(): void
}

/**
 * gRPC does not give up connecting, and calls wait for it. Where packets are lost TCP tries again later and later, so that even
 * when they are lost no more the connection may be half a minute away: a hanging attempt is given up for a new one.
 */
function openConnection({ address, tls, runtime }: RpcClientOptions): Connection {
  const security =
    tls === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(tls.authority, tls.key, tls.certificate)
  const open = () =>
    new NodeClientConstructor(address, security, channelOptions) as unknown as NodeClient
  let client = open()
  let attempt: Promise<NodeClient> | undefined
  let isClosed = false

  async function connect(): Promise<NodeClient> {
    const trying = client
    const deadlineMs = runtime.nowMs() + connectWithinMs
    for (;;) {
      const state = trying.getChannel().getConnectivityState(true)
      if (state !== connectivityState.IDLE && state !== connectivityState.CONNECTING) return trying
      if (await changes(trying, state, deadlineMs)) continue
      if (!isClosed) client = open()
      trying.close()
      const words = `node ${address} does not answer: no connection within ${connectWithinMs} ms`
      throw new UnreachableError('determinate', words)
    }
  }

  return {
    async reached() {
      const state = client.getChannel().getConnectivityState(false)
      if (isClosed || state === connectivityState.READY) return client
      attempt ??= connect().finally(() => {
        attempt = undefined
      })
      return await attempt
    },
    close() {
      isClosed = true
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

function requestOf(
  target: RpcTarget,
  method: string,
  args: readonly unknown[],
  { queryId = '' }: Context,
): RpcRequest {
  return { ...target, method, arguments: encodeValue(args), queryId }
}

function settle(
  { error, value }: RpcResponse,
  resolve: (value: unknown) => void,
  reject: (error: unknown) => void,
): void {
  try {
    if (error !== undefined && error.byteLength > 0) reject(decodeError(error))
    else resolve(decodeValue(value ?? new Uint8Array()))
  } catch (malformed) {
    reject(malformed)
  }
}

/** The stream is read no faster than parts are asked for: that holds the other side up. */
async function* receive(
  stream: ClientReadableStream<RpcResponse>,
  address: string,
  context: Context,
): AsyncGenerator<unknown, unknown, undefined> {
  const cancel = () => stream.cancel()
  context.signal.addEventListener('abort', cancel, { once: true })
  try {
    checkCancelled(context)
    for await (const response of stream as AsyncIterable<RpcResponse>) {
      const { error, value, isLast } = response
      if (error !== undefined && error.byteLength > 0) throw decodeError(error)
      const decoded = decodeValue(value ?? new Uint8Array())
      if (isLast === true) return decoded
      yield decoded
    }
    throw new UnreachableError('determinate', `node ${address} ended a stream early`)
  } catch (error) {
    if (context.signal.aborted) throw context.signal.reason
    throw isServiceError(error) ? lost(address, error) : error
  } finally {
    context.signal.removeEventListener('abort', cancel)
    stream.cancel()
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error
}

function lost(address: string, error: ServiceError): UnreachableError {
  // Connecting failed: nothing was sent.
  const neverSent =
    error.code === status.UNAVAILABLE && /No connection established/.test(error.details)
  return new UnreachableError(
    neverSent ? 'determinate' : 'indeterminate',
    `node ${address} does not answer: ${error.details}`,
    error,
  )
}
