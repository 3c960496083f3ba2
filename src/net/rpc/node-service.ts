/** node.proto, as gRPC's library wants it. */
import { fileURLToPath } from 'node:url'
import {
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  type GrpcObject,
  loadPackageDefinition,
  type Metadata,
  type ServiceClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

export interface RpcRequest {
  readonly contract: string
  readonly object: string
  readonly method: string
  readonly arguments: Uint8Array
  readonly queryId: string
}

export interface RpcResponse {
  readonly value?: Uint8Array | undefined
  readonly isLast?: boolean | undefined
  readonly error?: Uint8Array | undefined
}

/** The stub that gRPC's library makes of node.proto. */
export interface NodeClient extends Client {
  call(
    request: RpcRequest,
    metadata: Metadata,
    options: { readonly deadline?: number },
    done: (error: ServiceError | null, response?: RpcResponse) => void,
  ): ClientUnaryCall
  stream(request: RpcRequest): ClientReadableStream<RpcResponse>
}

const path = fileURLToPath(new URL('./node.proto', import.meta.url))
const definition = loadSync(path, { keepCase: false, defaults: false, bytes: Buffer })
const elanus = (loadPackageDefinition(definition)['elanus'] as GrpcObject)['v1'] as GrpcObject

export const NodeClientConstructor = elanus['Node'] as ServiceClientConstructor
export const nodeService: ServiceDefinition = NodeClientConstructor.service

/** A batch of a scan is some megabytes; a commit may carry a COPY's worth of rows. */
export const messageBytesMax = 1024 * 1024 * 1024
