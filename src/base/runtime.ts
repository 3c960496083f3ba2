/** The world as a parameter: clock, sleep and randomness come in from outside, so that a simulator can replay them. */
export interface Runtime {
  /** Milliseconds since 1970. May step backwards: the timestamp oracle deals with that. */
  nowMs(): number
  /** Monotonic milliseconds for measuring durations. */
  monotonicMs(): number
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Uniform in [0, 1). Not for secrets. */
  random(): number
  /** Cryptographically strong bytes (cancel keys, SCRAM nonces). */
  randomBytes(count: number): Uint8Array
}
