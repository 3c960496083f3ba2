/** Tables that were dropped go from the nodes, whatever happens after the commit; others never do. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import {
  DroppedTables,
  type DroppedTablesOptions,
  droppedTablesPrefix,
} from '#nodes/proxy/session/dropped-tables.js'
import type { CatalogSnapshot } from '#postgres/contract.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

let coordinator: Coordinator
let dropped: number[]
let answers: boolean
let opened: DroppedTables[]

function open(streaming?: DroppedTablesOptions['streaming']): DroppedTables {
  const tables = new DroppedTables({
    coordinator,
    runtime: { ...systemRuntime, sleep: (_, signal) => systemRuntime.sleep(1, signal) },
    streaming: streaming ?? {
      async dropTable(tableId) {
        if (!answers) throw new StoreError('determinate', 'nobody answers')
        dropped.push(tableId)
      },
    },
  })
  opened.push(tables)
  return tables
}

function catalog(version: number, ...tableIds: readonly number[]) {
  const tables = new Map(tableIds.map((tableId) => [tableId, {}]))
  return { version, tables: tables as unknown as CatalogSnapshot['tables'] }
}

async function notes(): Promise<number> {
  return (await coordinator.listSettings(droppedTablesPrefix)).length
}

beforeEach(async () => {
  const meta = new MemoryMeta(new MemoryMetaDisk(), { runtime: systemRuntime })
  coordinator = await openCoordinator({ meta, runtime: systemRuntime })
  dropped = []
  answers = true
  opened = []
})
afterEach(async () => {
  for (const tables of opened) await tables.close()
  await coordinator.stop()
})

test('go at once, and no note is left', async () => {
  const tables = open()
  await tables.forget(await tables.note(7, [100, 101]))
  expect(dropped).toEqual([100, 101])
  expect(await notes()).toBe(0)
  expect(await tables.note(8, [])).toBeUndefined()
})

test('go when the nodes answer again; the statement does not fail', async () => {
  const tables = open()
  answers = false
  await tables.forget(await tables.note(7, [100]))
  expect(await notes()).toBe(1)
  answers = true
  await expect.poll(() => dropped).toEqual([100])
  await expect.poll(notes).toBe(0)
})

test('of a proxy that died after the commit go when the next one starts', async () => {
  await open().note(7, [100, 101])
  await open().recover(catalog(8, 102))
  await expect.poll(() => dropped).toEqual([100, 101])
  await expect.poll(notes).toBe(0)
})

test('of a transaction that has failed stay, and its note goes', async () => {
  const tables = open()
  await tables.withdraw(await tables.note(7, [100]))
  expect(await notes()).toBe(0)
  await tables.note(7, [100])
  await open().recover(catalog(7, 100))
  expect(await notes()).toBe(0)
  await open().note(7, [100])
  await open().recover(catalog(9, 100))
  expect(await notes()).toBe(0)
  expect(dropped).toEqual([])
})

test('are not believed to be dropped by a catalog that has not heard of them, or of their end', async () => {
  await open().note(7, [100])
  for (const version of [6, 7]) await open().recover(catalog(version))
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(dropped).toEqual([])
  expect(await notes()).toBe(1)
})
