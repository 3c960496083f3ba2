/** What the log needs of Kafka: topics of one partition, produced to and fetched from by offset, without consumer groups. */
import { Admin, Consumer, Producer } from '@platformatic/kafka'
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'

export interface KafkaRecord {
  readonly offset: number
  readonly value: Buffer | null
}

export interface KafkaClient {
  /** Exists afterwards. Idempotent. */
  ensureTopic(topic: string): Promise<void>
  exists(topic: string): Promise<boolean>
  /** One record batch: all or none. @returns offset of the first. @throws StoreError */
  produce(topic: string, values: readonly Buffer[]): Promise<number>
  /** Some records from the offset on, in order; none at the end of the log. */
  fetch(topic: string, offset: number, bytesMax: number): Promise<readonly KafkaRecord[]>
  /** First offset there is; offset that comes next. */
  offsets(topic: string): Promise<{ readonly low: number; readonly high: number }>
  /** Records below the offset go. */
  deleteRecords(topic: string, before: number): Promise<void>
  close(): Promise<void>
}

export interface KafkaOptions {
  /** host:port */
  readonly brokers: readonly string[]
  readonly replicationFactor: number
  /** Of one request; the broker's socket.request.max.bytes (100 MiB by default) is above. */
  readonly batchBytesMax: number
  readonly requestTimeoutMs: number
}

const partition = 0
const topicAttemptsMax = 50
const topicPauseMs = 100
/** Codes with which a broker says that it has not written. Kafka's protocol guide, error codes. */
const determinateCodes = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'BROKER_NOT_AVAILABLE',
  'MESSAGE_TOO_LARGE',
  'INVALID_TOPIC_EXCEPTION',
  'RECORD_LIST_TOO_LARGE',
  'NOT_ENOUGH_REPLICAS',
  'INVALID_REQUIRED_ACKS',
  'TOPIC_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'POLICY_VIOLATION',
  'KAFKA_STORAGE_ERROR',
])

export function openKafkaClient(options: KafkaOptions, runtime: Runtime): KafkaClient {
  const base = {
    clientId: 'elanus',
    bootstrapBrokers: [...options.brokers],
    retries: 0,
    timeout: options.requestTimeoutMs,
    connectTimeout: options.requestTimeoutMs,
  }
  const admin = new Admin(base)
  const producer = new Producer({ ...base, acks: -1, autocreateTopics: false })
  // Never joins the group: fetch and listOffsets need none.
  const consumer = new Consumer({ ...base, groupId: 'elanus' })
  const topics = new Map<string, { readonly id: string; readonly leader: number }>()

  async function locate(topic: string) {
    const known = topics.get(topic)
    if (known !== undefined) return known
    const metadata = await consumer.metadata({ topics: [topic], forceUpdate: true })
    const found = metadata.topics.get(topic)
    const leader = found?.partitions[partition]?.leader
    if (found === undefined || leader === undefined || leader < 0) {
      throw new StoreError('determinate', `topic ${topic} has no leader`)
    }
    const located = { id: found.id, leader }
    topics.set(topic, located)
    return located
  }

  /** Reads fail determinately; what was known of the topic may be stale then. */
  async function reading<T>(what: string, topic: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      topics.delete(topic)
      if (error instanceof StoreError) throw error
      throw new StoreError('determinate', `could not ${what} ${topic}: ${reasonOf(error)}`, error)
    }
  }

  async function offsetAt(topic: string, timestamp: bigint): Promise<number> {
    const found = await consumer.listOffsets({
      topics: [topic],
      partitions: { [topic]: [partition] },
      timestamp,
    })
    const offset = found.get(topic)?.[partition]
    if (offset === undefined) throw new StoreError('determinate', `${topic} has no offsets`)
    return Number(offset)
  }

  async function exists(topic: string): Promise<boolean> {
    return await reading('look for topic', topic, async () =>
      (await admin.listTopics()).includes(topic),
    )
  }

  return {
    exists,
    async ensureTopic(topic) {
      if (topics.has(topic) || (await exists(topic))) return
      await reading('create topic', topic, async () => {
        try {
          await admin.createTopics({
            topics: [topic],
            partitions: 1,
            replicas: options.replicationFactor,
            configs: [
              { name: 'retention.ms', value: '-1' },
              { name: 'retention.bytes', value: '-1' },
              { name: 'cleanup.policy', value: 'delete' },
              { name: 'max.message.bytes', value: String(options.batchBytesMax + 1024 * 1024) },
              { name: 'min.insync.replicas', value: options.replicationFactor > 2 ? '2' : '1' },
            ],
          })
        } catch (error) {
          if (!codesOf(error).includes('TOPIC_ALREADY_EXISTS')) throw error
        }
      })
      // The topic and its leader take a moment to be known everywhere.
      for (let attempt = 0; ; attempt += 1) {
        try {
          await reading('find topic', topic, () => locate(topic))
          return
        } catch (error) {
          if (attempt === topicAttemptsMax) throw error
          await runtime.sleep(topicPauseMs)
        }
      }
    },
    async produce(topic, values) {
      try {
        const { offsets } = await producer.send({
          acks: -1,
          messages: values.map((value) => ({ topic, partition, value })),
        })
        const offset = offsets?.[0]?.offset
        if (offset === undefined) throw new StoreError('indeterminate', 'Kafka gave no offset')
        return Number(offset)
      } catch (error) {
        topics.delete(topic)
        if (error instanceof StoreError) throw error
        const codes = codesOf(error)
        const outcome =
          codes.length > 0 && codes.every((code) => determinateCodes.has(code))
            ? 'determinate'
            : 'indeterminate'
        throw new StoreError(outcome, `could not append to ${topic}: ${reasonOf(error)}`, error)
      }
    },
    fetch: (topic, offset, bytesMax) =>
      reading('read', topic, async () => {
        const { id, leader } = await locate(topic)
        const response = await consumer.fetch({
          node: leader,
          maxWaitTime: 0,
          minBytes: 0,
          maxBytes: bytesMax,
          isolationLevel: 0,
          topics: [
            {
              topicId: id,
              partitions: [
                {
                  partition,
                  currentLeaderEpoch: -1,
                  fetchOffset: BigInt(offset),
                  lastFetchedEpoch: -1,
                  partitionMaxBytes: bytesMax,
                },
              ],
            },
          ],
        })
        const batches = response.responses[0]?.partitions[0]?.records ?? []
        return batches.flatMap((batch) =>
          batch.records.map(({ offsetDelta, value }) => ({
            offset: Number(batch.firstOffset) + offsetDelta,
            value,
          })),
        )
      }),
    offsets: (topic) =>
      reading('ask the offsets of', topic, async () => ({
        low: await offsetAt(topic, -2n),
        high: await offsetAt(topic, -1n),
      })),
    deleteRecords: (topic, before) =>
      reading('truncate', topic, async () => {
        await admin.deleteRecords({
          topics: [{ name: topic, partitions: [{ partition, offset: BigInt(before) }] }],
        })
      }),
    async close() {
      await Promise.allSettled([producer.close(), consumer.close(true), admin.close()])
    },
  }
}

/** Kafka's error codes, anywhere below; empty when the broker did not answer. */
function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return []
  const own = 'apiId' in error && typeof error.apiId === 'string' ? [error.apiId] : []
  const below = error instanceof AggregateError ? error.errors.flatMap(codesOf) : []
  return [...own, ...below, ...codesOf(error.cause)]
}

function reasonOf(error: unknown): string {
  const codes = codesOf(error)
  if (codes.length > 0) return codes.join(', ')
  return error instanceof Error ? error.message : String(error)
}
