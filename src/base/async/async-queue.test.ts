import { expect, test } from 'vitest'
import { AsyncQueue } from '#base/async/async-queue.js'

async function drained<T>(queue: AsyncQueue<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of queue.drain()) items.push(item)
  return items
}

test('what is pushed comes out in order, before and while somebody waits', async () => {
  const queue = new AsyncQueue<number>()
  queue.push(1)
  queue.push(2)
  const reading = drained(queue)
  await null
  queue.push(3)
  await new Promise((resolve) => setImmediate(resolve))
  queue.push(4)
  queue.close()
  queue.push(5)
  expect(await reading).toEqual([1, 2, 3, 4])
})

test('closing wakes the reader, with an error if there is one', async () => {
  const plain = new AsyncQueue<number>()
  const reading = drained(plain)
  await null
  plain.close()
  expect(await reading).toEqual([])
  const failing = new AsyncQueue<number>()
  const failed = drained(failing)
  failing.push(1)
  failing.close({ reason: new Error('gone') })
  await expect(failed).rejects.toThrow('gone')
})
