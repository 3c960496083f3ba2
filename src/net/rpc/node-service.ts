/** node.proto, as gRPC's library wants it. */
import { fileURLToPath } from 'node:url'
import {
  type Client,
  type ClientDuplexStream,
  type GrpcObject,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceDefinition,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

/** What is not set is not there. */
export interface Frame {
  readonly call?: number
  readonly kind?: number
  readonly bytes?: Uint8Array
  readonly continues?: boolean
  readonly contract?: string
  readonly object?: string
  readonly method?: string
  readonly queryId?: string
  readonly parts?: number
}

export const kind = {
  request: 1,
  more: 2,
  cancel: 3,
  part: 4,
  result: 5,
  error: 6,
  refused: 7,
} as const

/** The stub that gRPC's library makes of node.proto. */
export interface NodeClient extends Client {
  exchange(): ClientDuplexStream<Frame, Frame>
}

const path = fileURLToPath(new URL('./node.proto', import.meta.url))
const definition = loadSync(path, {
  keepCase: false,
  defaults: false,
  bytes: Buffer,
  longs: Number,
})
const elanus = (loadPackageDefinition(definition)['elanus'] as GrpcObject)['v1'] as GrpcObject

export const NodeClientConstructor = elanus['Node'] as ServiceClientConstructor
export const nodeService: ServiceDefinition = NodeClientConstructor.service

/** A batch of a scan is some megabytes; a commit may carry a COPY's worth of rows. */
export const messageBytesMax = 1024 * 1024 * 1024

/** Of one frame: what a small message may have to wait for on the wire. */
export const frameBytesMax = 64 * 1024

/** So much may be on its way unread on a connection: more than there is between hosts of one site at full speed. */
export const windowBytes = 4 * 1024 * 1024
