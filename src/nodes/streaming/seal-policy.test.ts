import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { defaultStreamingLimits as limits } from '#nodes/streaming/limits.js'
import { reasonToSeal } from '#nodes/streaming/seal-policy.js'
import { context, docs, insert, tableId, World } from '#nodes/streaming/streaming.testing.js'

const otherId = tableId + 1000
const rows = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({ id: from + i, name: `doc ${from + i}` }))

describe('a growing segment is sealed', () => {
  const small = { byteLength: 100, rowCount: 1, lastAppendMs: 0, openedMs: 0, firstPosition: 50 }

  test.each([
    ['when it is empty: never', { ...small, rowCount: 0 }, 1e9, 1e9, undefined],
    ['when nothing asks for it: not yet', small, limits.sealAgeMs - 1, 50, undefined],
    ['for its size', { ...small, byteLength: limits.segmentBytesMax }, 0, 0, 'size'],
    ['for its age, however small', small, limits.sealAgeMs, 0, 'age'],
    ['for the log', small, 0, 51, 'log'],
    ['when idle', { ...small, rowCount: limits.sealIdleRowCountMin }, limits.sealIdleMs, 0, 'idle'],
  ])('%s', (_, segment, nowMs, held, reason) => {
    expect(reasonToSeal(segment, limits, nowMs, held)).toBe(reason)
  })
})

describe('an idle table', () => {
  let world: World
  beforeEach(async () => {
    world = await World.create()
  })
  afterEach(() => world.close())

  async function stage(): Promise<string | undefined> {
    return (await world.node.statistics(tableId)).segments[0]?.stage
  }

  test('does not hold the log back', async () => {
    await world.open({ logBytesMax: 20_000 })
    await world.node.putTable(docs)
    await world.node.putTable({ ...docs, tableId: otherId, name: 'others', keys: [] })
    await world.commit(insert(...rows(0, 1)))
    const begin = (await world.node.activity()).logEnd
    for (let i = 0; i < 40; i += 1) {
      await world.commit({ ...insert(...rows(i * 20, i * 20 + 20)), tableId: otherId })
      await world.node.flush(otherId, context)
      await world.node.runBackground()
    }
    const { logStart, logBytes } = await world.node.activity()
    expect(logStart).toBeGreaterThanOrEqual(begin)
    expect(logBytes).toBeLessThan(40_000)
    expect(await stage()).toBe('flushed')
    expect(await world.ids()).toEqual([0])
    await world.node.stop()
    await world.open()
    expect(await world.ids()).toEqual([0])
  })

  test('is flushed when its rows are old', async () => {
    await world.open({ sealAgeMs: 50 })
    await world.node.putTable(docs)
    await world.commit(insert(...rows(0, 1)))
    expect(await stage()).toBe('growing')
    await world.runtime.sleep(60)
    await world.node.runBackground()
    expect(await stage()).toBe('flushed')
  })
})
