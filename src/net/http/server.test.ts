import { expect, test } from 'vitest'
import { openHttpServer } from '#net/http/server.js'

test('probes answer 200 or 503 with the reason, metrics their text', async () => {
  let trouble: string | undefined
  const server = await openHttpServer({
    host: '127.0.0.1',
    port: 0,
    livez: () => undefined,
    readyz: () => trouble,
    metrics: async () => 'elanus_up 1\n',
  })
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
    return [response.status, await response.text()]
  }
  expect(await get('/livez')).toEqual([200, 'ok\n'])
  expect(await get('/readyz?verbose')).toEqual([200, 'ok\n'])
  trouble = 'log is being replayed'
  expect(await get('/readyz')).toEqual([503, 'log is being replayed\n'])
  expect(await get('/metrics')).toEqual([200, 'elanus_up 1\n'])
  expect(await get('/')).toEqual([404, 'not found\n'])
  expect(await get('/metrics', 'POST')).toEqual([405, 'method not allowed\n'])
  await server.close()
})

test('a callback that throws is a 500 without its words', async () => {
  const server = await openHttpServer({
    host: '127.0.0.1',
    port: 0,
    livez: () => undefined,
    readyz: () => undefined,
    metrics: () => {
      throw new Error('secret')
    },
  })
  const response = await fetch(`http://127.0.0.1:${server.port}/metrics`)
  expect([response.status, await response.text()]).toEqual([500, 'internal error\n'])
  await server.close()
})
