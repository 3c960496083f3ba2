import { setTimeout as sleep } from 'node:timers/promises'
import { writeCopyData, writeCopyDone } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { parseErrorResponse } from '#net/pgwire/error-response.js'
import * as encode from '#net/pgwire/frontend-encode.js'
import { RawClient } from './raw-client.js'

export interface FuzzOptions {
  /** A server on 127.0.0.1 that lets `user` in without a password. */
  readonly port: number
  readonly iterations: number
  readonly seed: number
  readonly user?: string
  readonly database?: string
  /** Harmless statements that are cut, mutated and run. */
  readonly statements?: readonly string[]
  /** A COPY … FROM STDIN to vanish in; the table keeps nothing, as no COPY is ever finished. */
  readonly copyStatement?: string
  /** Called after each batch, beside the probe: for what only the caller can see (memory, open sessions). */
  readonly afterBatch?: (done: number) => void | Promise<void>
}

export interface FuzzReport {
  /** How often each SQLSTATE was answered. */
  readonly sqlStates: ReadonlyMap<string, number>
  /** Connections that the server closed by itself. */
  readonly closedByServer: number
}

const batchSize = 25
/** Longer than the server takes to answer, short enough for a thousand clients. */
const patienceMs = 30
const probeMs = 5000

/**
 * Clients that send malformed, mutated and truncated messages, or vanish in the middle of one. After
 * each batch another client must be served, by a connection from before and by a new one.
 * @throws Error naming seed and iteration when the server does not answer, or answers with bytes
 * that are no messages
 */
export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const random = randomFrom(options.seed)
  const report = { sqlStates: new Map<string, number>(), closedByServer: 0 }
  const witness = await RawClient.started(options.port, options.user)
  try {
    for (let done = 0; done < options.iterations; done += batchSize) {
      const clients: Promise<void>[] = []
      for (let index = 0; index < batchSize && done + index < options.iterations; index += 1) {
        const attack = attackOf(random, options)
        clients.push(
          attackWith(attack, options.port, report).catch((cause: unknown) => {
            throw failed(options, done + index, attack.name, cause)
          }),
        )
      }
      await Promise.all(clients)
      try {
        await probe(witness)
        const fresh = await RawClient.started(options.port, options.user)
        await probe(fresh)
        fresh.send(encode.writeTerminate)
        fresh.socket.end()
      } catch (cause) {
        throw failed(options, done, 'probe', cause)
      }
      await options.afterBatch?.(Math.min(done + batchSize, options.iterations))
    }
  } finally {
    witness.destroy()
  }
  return report
}

function failed(options: FuzzOptions, iteration: number, what: string, cause: unknown): Error {
  return new Error(`fuzz seed ${options.seed}, iteration ${iteration}, ${what}: ${cause}`, {
    cause,
  })
}

/** The server answers a well-behaved client. */
async function probe(client: RawClient): Promise<void> {
  client.send((writer) => encode.writeQuery(writer, 'select 1'))
  const timeout = new AbortController()
  const answer = await Promise.race([
    client.until('Z'),
    sleep(probeMs, undefined, { signal: timeout.signal }),
  ])
  timeout.abort()
  if (answer?.some(({ type }) => type === 'D') !== true) throw new Error('no row for select 1')
}

interface Attack {
  readonly name: string
  /** In order, each its own write. */
  readonly packets: readonly Uint8Array[]
  readonly leave: 'destroy' | 'reset' | 'halfClose' | 'wait'
}

async function attackWith(
  attack: Attack,
  port: number,
  report: { sqlStates: Map<string, number>; closedByServer: number },
): Promise<void> {
  const client = await RawClient.connect(port)
  for (const bytes of attack.packets) {
    if (client.socket.writable) client.socket.write(bytes)
    if (attack.packets.length > 1) await sleep(1)
  }
  if (attack.leave === 'halfClose') client.socket.end()
  if (attack.leave === 'wait' || attack.leave === 'halfClose') {
    await Promise.race([client.untilEnd(), sleep(patienceMs)])
    if (client.ended) report.closedByServer += 1
    for (const { type, body } of client.received()) {
      if (type !== 'E') continue
      const { sqlState } = parseErrorResponse(body)
      report.sqlStates.set(sqlState, (report.sqlStates.get(sqlState) ?? 0) + 1)
    }
  }
  if (attack.leave === 'reset') client.socket.resetAndDestroy()
  else client.destroy()
}

function attackOf(random: Random, options: FuzzOptions): Attack {
  const leave = random.pick(['destroy', 'reset', 'halfClose', 'wait', 'wait', 'wait'] as const)
  const startup = packet((writer) =>
    encode.writeStartup(
      writer,
      { user: options.user ?? 'toy', database: options.database ?? 'toy' },
      random.pick([0, 0, 2]),
    ),
  )
  const statement = random.pick(
    options.statements ?? ['select 1', '', 'begin', 'select 1; select 2'],
  )
  const good = packet((writer) => writeGood(writer, random, statement))
  switch (random.below(9)) {
    case 0:
      return { name: 'garbage', packets: [random.bytes(1 + random.below(200))], leave }
    case 1:
      return { name: 'cut startup', packets: [cut(startup, random)], leave }
    case 2:
      return { name: 'mutated startup', packets: [mutated(startup, random), good], leave }
    case 3:
      return { name: 'cut message', packets: [startup, cut(good, random)], leave }
    case 4:
      return { name: 'mutated messages', packets: [startup, mutated(good, random)], leave }
    case 5:
      return { name: 'random message', packets: [startup, randomMessage(random)], leave }
    case 6:
      return { name: 'announced, never sent', packets: [startup, announced(random), good], leave }
    case 7:
      return {
        name: 'vanish in COPY',
        packets: [startup, ...copying(random, options)],
        leave: 'reset',
      }
    default:
      return {
        name: 'one packet',
        packets: [Buffer.concat([startup, good, randomMessage(random)])],
        leave,
      }
  }
}

/** A few well-formed messages, in an order that may make no sense. */
function writeGood(writer: ByteWriter, random: Random, statement: string): void {
  const count = 1 + random.below(6)
  for (let index = 0; index < count; index += 1) {
    const name = random.pick(['', '', 'a'])
    random.pick([
      () => encode.writeQuery(writer, statement),
      () => encode.writeParse(writer, name, statement, random.pick([[], [23], [0, 25]])),
      () =>
        encode.writeBind(writer, {
          portal: name,
          statement: name,
          parameters: random.pick([[], ['1'], [null], [random.bytes(4)]]),
          resultFormats: random.pick([[], [1], [0]]),
        }),
      () => encode.writeDescribe(writer, random.pick(['statement', 'portal']), name),
      () => encode.writeExecute(writer, name, random.pick([0, 1, -1])),
      () => encode.writeClose(writer, random.pick(['statement', 'portal']), name),
      () => encode.writeSync(writer),
      () => encode.writeFlush(writer),
      () => writeCopyData(writer, random.bytes(random.below(50))),
      () => writeCopyDone(writer),
      () => encode.writeCopyFail(writer, 'fuzz'),
      () => encode.writeEncryptionRequest(writer, 'ssl'),
    ])()
  }
  if (random.below(2) === 0) encode.writeSync(writer)
}

function randomMessage(random: Random): Uint8Array {
  const types = 'QPBDECSHXdcfpF!\0\xff'
  const type = types.charCodeAt(random.below(types.length))
  return packet((writer) => encode.writeMessage(writer, type, random.bytes(random.below(100))))
}

/** A header whose length is negative, tiny, or far more than follows. */
function announced(random: Random): Uint8Array {
  const header = Buffer.alloc(5)
  header[0] = random.pick([0x51, 0x42, 0x50, 0x64, 0x53])
  header.writeInt32BE(
    random.pick([-1, 0, 3, 9999, 10_001, 0x3fff_fffe, 0x3fff_ffff, 0x7fff_ffff, -0x8000_0000]),
    1,
  )
  return Buffer.concat([header, random.bytes(random.below(2000))])
}

function copying(random: Random, options: FuzzOptions): Uint8Array[] {
  const copyStatement = options.copyStatement ?? 'copy in'
  const data = packet((writer) => {
    const count = 1 + random.below(20)
    for (let row = 0; row < count; row += 1) writeCopyData(writer, random.bytes(random.below(300)))
  })
  return [packet((writer) => encode.writeQuery(writer, copyStatement)), cut(data, random)]
}

function packet(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter()
  write(writer)
  return writer.take()
}

function cut(bytes: Uint8Array, random: Random): Uint8Array {
  return bytes.subarray(0, random.below(bytes.length))
}

function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  const changed = Uint8Array.from(bytes)
  const count = 1 + random.below(4)
  for (let index = 0; index < count; index += 1) {
    changed[random.below(changed.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
  }
  return changed
}

interface Random {
  /** 0 … limit - 1 */
  below(limit: number): number
  pick<Value>(values: readonly Value[]): Value
  bytes(count: number): Uint8Array
}

/** mulberry32: small, and the same everywhere for the same seed. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    below,
    pick: (values) => {
      const value = values[below(values.length)]
      if (value === undefined) throw new Error('nothing to pick from')
      return value
    },
    bytes: (count) => Uint8Array.from({ length: count }, () => below(256)),
  }
}
