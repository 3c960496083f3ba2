import { randomUUID } from 'node:crypto'
import { test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { openKafkaWal } from '#storage/wal/kafka/kafka-wal.js'
import { type WalUnderTest, walConformance } from '#storage/wal/wal.conformance.js'
import type { Wal } from '#storage/wal/wal.js'

const broker = process.env['ELANUS_TEST_KAFKA']

async function open(): Promise<WalUnderTest> {
  const options = { brokers: [broker ?? ''], prefix: `test-${randomUUID()}`, replicationFactor: 1 }
  let wal = openKafkaWal(options, systemRuntime)
  const others: Wal[] = []
  return {
    wal,
    reopen: async () => {
      await wal.close()
      wal = openKafkaWal(options, systemRuntime)
      return wal
    },
    another: () => {
      const other = openKafkaWal(options, systemRuntime)
      others.push(other)
      return other
    },
    cleanup: async () => {
      for (const log of [wal, ...others]) await log.close()
    },
  }
}

if (broker === undefined) test.skip('no Kafka: ELANUS_TEST_KAFKA is not set')
else walConformance('the log in Kafka', open)
