import { afterEach, describe, expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import {
  batchOf,
  context,
  docs,
  insert,
  tableId,
  World,
} from '#nodes/streaming/streaming.testing.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'

/** A clock that moves by what is slept. */
function virtualRuntime() {
  let ms = 0
  return {
    ...systemRuntime,
    monotonicMs: () => ms,
    async sleep(slept: number, signal?: AbortSignal) {
      await null
      signal?.throwIfAborted()
      ms += slept
    },
  }
}

describe('memory of rows that are not in objects yet', () => {
  const holder = (used: number, flushable = used) => {
    const held = { used, flushable, hurried: 0 }
    return {
      held,
      measure: () => held.used,
      flushable: () => held.flushable,
      hurry: () => {
        held.hurried += 1
      },
    }
  }

  test('below the soft limit nobody waits; beyond it the wait grows as room shrinks', async () => {
    const runtime = virtualRuntime()
    const memory = new WriteMemory({ runtime, hardBytes: 900 })
    const one = holder(500)
    memory.join(one)
    expect(memory.admit(100, context)).toBeUndefined()
    const waits: number[] = []
    for (const used of [600, 700, 800]) {
      one.held.used = used
      memory.measure()
      const begun = runtime.monotonicMs()
      await memory.admit(50, context)
      waits.push(runtime.monotonicMs() - begun)
    }
    expect(waits).toEqual(waits.toSorted((a, b) => a - b))
    expect(new Set(waits).size).toBe(3)
    expect(one.held.hurried).toBe(3)
  })

  test('beyond the hard limit a write waits for a flush, and is refused when none helps', async () => {
    const runtime = virtualRuntime()
    const memory = new WriteMemory({ runtime, hardBytes: 900 })
    const one = holder(900)
    memory.join(one)
    const waiting = memory.admit(50, context)
    for (let turn = 0; turn < 10; turn += 1) await null
    one.held.used = 100
    await waiting
    one.held.used = 900
    memory.measure()
    await expect(memory.admit(50, context)).rejects.toMatchObject({ sqlState: '53200' })
    expect(memory.refusedCount).toBe(1)
    expect(runtime.monotonicMs()).toBeGreaterThan(10_000)
  })

  test('when all of it belongs to open COPYs a write is refused at once', async () => {
    const runtime = virtualRuntime()
    const memory = new WriteMemory({ runtime, hardBytes: 900 })
    memory.join(holder(900, 0))
    await expect(memory.admit(50, context)).rejects.toThrow('out of memory')
    expect(runtime.monotonicMs()).toBeLessThan(1000)
  })

  test('a cancel ends the wait', async () => {
    const memory = new WriteMemory({ runtime: systemRuntime, hardBytes: 900 })
    memory.join(holder(900))
    const cancel = new AbortController()
    const waiting = memory.admit(50, { signal: cancel.signal })
    const reason = new DatabaseError('57014', 'canceling statement due to user request')
    cancel.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  })
})

describe('a streaming node short of memory', () => {
  let world: World
  afterEach(() => world.close())

  async function open(background: World['background']) {
    world = await World.create()
    world.growingBytes = 200_000
    world.background = background
    await world.open({ backgroundIntervalMs: 60_000 })
    await world.node.putTable(docs)
  }
  const rows = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ id: from + i, name: 'x'.repeat(100) }))

  test('seals and flushes while it is written to, and loses nothing', async () => {
    await open('automatic')
    for (let from = 0; from < 10_000; from += 100) {
      await world.commit(insert(...rows(from, 100)))
    }
    const { liveRows, segments } = await world.node.statistics(tableId)
    expect(liveRows).toBe(10_000)
    expect(segments.length).toBeGreaterThan(1)
  })

  test('whose flushes are slow has writers wait for them: segments do not pile up', async () => {
    world = await World.create()
    world.growingBytes = 200_000
    world.background = 'automatic'
    world.dataNodeSeen = (node) => ({
      ...node,
      async flush(...given) {
        await world.runtime.sleep(30)
        return await node.flush(...given)
      },
    })
    await world.open({ segmentBytesMax: world.growingBytes / 6, backgroundIntervalMs: 10 })
    await world.node.putTable(docs)
    let most = 0
    let mostBytes = 0
    const write = async (writer: number): Promise<void> => {
      for (let from = 0; from < 3000; from += 50) {
        await world.commit(insert(...rows(writer * 10_000 + from, 50)))
        const { segments } = await world.node.statistics(tableId)
        const growing = segments.filter(({ stage }) => stage === 'growing')
        most = Math.max(most, growing.length)
        mostBytes = Math.max(
          mostBytes,
          growing.reduce((sum, { bytes }) => sum + bytes, 0),
        )
      }
    }
    await Promise.all([0, 1, 2, 3].map(write))
    expect((await world.node.statistics(tableId)).liveRows).toBe(12_000)
    expect(mostBytes).toBeLessThanOrEqual(world.growingBytes)
    // As many as fit, one that takes rows, and one of which the flush has just ended.
    expect(most).toBeLessThanOrEqual(8)
  })

  test('refuses a COPY that is larger than memory, and goes on when it is given up', async () => {
    await open('automatic')
    const staged = await world.node.stage(tableId, 0)
    const copying = (async () => {
      for (let from = 0; from < 10_000; from += 100) await staged.append(batchOf(rows(from, 100)))
    })()
    await expect(copying).rejects.toMatchObject({ sqlState: '53200' })
    await staged.abort()
    await world.commit(insert(...rows(0, 100)))
    expect((await world.node.statistics(tableId)).liveRows).toBe(100)
  })
})
