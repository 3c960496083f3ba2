import type { DatabaseError } from '#base/errors.js'

/**
 * What a client says, one type per message of the protocol 3 (protocol-message-formats).
 *
 * Ownership: byte fields are views into what the socket delivered; nobody writes to those bytes
 * again, so they stay valid, but a small view keeps a chunk of up to 64 KiB alive: copy what is
 * kept for long (a stored parameter), use in place what is not.
 */
export type FrontendMessage =
  | StartupPhaseMessage
  | SessionMessage
  | PasswordMessage
  | InvalidMessage
  | ViolationMessage

export type StartupPhaseMessage =
  | StartupMessage
  | { readonly kind: 'sslRequest' }
  | { readonly kind: 'gssencRequest' }
  | CancelRequestMessage

export type SessionMessage =
  | QueryMessage
  | ParseMessage
  | BindMessage
  | DescribeMessage
  | ExecuteMessage
  | CloseMessage
  | CopyDataMessage
  | CopyFailMessage
  | FunctionCallMessage
  | { readonly kind: 'copyDone' }
  | { readonly kind: 'flush' }
  | { readonly kind: 'sync' }
  | { readonly kind: 'terminate' }

/** Protocol 3.`minor`; `parameters` as sent, including user and database. */
export interface StartupMessage {
  readonly kind: 'startup'
  readonly minor: number
  readonly parameters: ReadonlyMap<string, string>
}

export interface CancelRequestMessage {
  readonly kind: 'cancelRequest'
  readonly processId: number
  /** 4 bytes in protocol 3.0, up to 256 in 3.2. */
  readonly secretKey: Uint8Array
}

export interface QueryMessage {
  readonly kind: 'query'
  readonly sql: string
}

export interface ParseMessage {
  readonly kind: 'parse'
  /** '' is the unnamed statement. */
  readonly name: string
  readonly sql: string
  /** Type OIDs; 0 or a missing one means: infer. */
  readonly parameterTypes: readonly number[]
}

export interface BindMessage {
  readonly kind: 'bind'
  readonly portal: string
  readonly statement: string
  /** None (all text), one for all, or one per parameter; 0 text, 1 binary; other codes are not checked here. */
  readonly parameterFormats: readonly number[]
  readonly parameters: readonly (Uint8Array | null)[]
  /** None (all text), one for all, or one per result column. */
  readonly resultFormats: readonly number[]
}

export interface DescribeMessage {
  readonly kind: 'describe'
  readonly target: 'statement' | 'portal'
  readonly name: string
}

export interface ExecuteMessage {
  readonly kind: 'execute'
  readonly portal: string
  /** 0 or less: no limit. */
  readonly rowCountMax: number
}

export interface CloseMessage {
  readonly kind: 'close'
  readonly target: 'statement' | 'portal'
  readonly name: string
}

/** Part of the COPY stream: neighbouring CopyData messages are joined and long ones come in parts (frame.ts). */
export interface CopyDataMessage {
  readonly kind: 'copyData'
  readonly data: Uint8Array
}

export interface CopyFailMessage {
  readonly kind: 'copyFail'
  readonly reason: string
}

export interface FunctionCallMessage {
  readonly kind: 'functionCall'
  readonly functionOid: number
}

/** PasswordMessage, SASLInitialResponse or SASLResponse: which one, only the authentication in progress knows. */
export interface PasswordMessage {
  readonly kind: 'password'
  readonly payload: Uint8Array
}

/** Well framed, but its text is not UTF-8: an ERROR to the client, the connection goes on. */
export interface InvalidMessage {
  readonly kind: 'invalid'
  readonly error: DatabaseError
  /** True for Parse, Bind…: skip to Sync. False for Query: ReadyForQuery follows. */
  readonly extended: boolean
}

/** Never made by the decoder: stands in the inbox for what the decoder threw, behind the messages that were still good. */
export interface ViolationMessage {
  readonly kind: 'violation'
  readonly error: unknown
}
