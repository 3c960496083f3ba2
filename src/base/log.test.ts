import { expect, test } from 'vitest'
import { describeError, type LogOptions, openLog } from '#base/log.js'

function opened(options: Partial<LogOptions>) {
  const lines: string[] = []
  const log = openLog({
    least: 'info',
    format: 'text',
    always: { node: 'query' },
    now: () => new Date(0),
    write: (line) => lines.push(line),
    ...options,
  })
  return { log, lines }
}

test('a line for people: time, level, words, fields; quoted where they are not one word', () => {
  const { log, lines } = opened({})
  log('warn', 'slow call', { ms: 12.5, queryId: '7.3', sql: 'SELECT 1\nFROM t', none: undefined })
  expect(lines).toEqual([
    '1970-01-01T00:00:00.000Z warn slow call ms=12.5 queryId=7.3 sql="SELECT 1\\nFROM t"\n',
  ])
})

test('JSON: one object a line, with what is said of the node', () => {
  const { log, lines } = opened({ format: 'json' })
  log('error', 'failed', { error: 'line 1\nline 2' })
  expect(lines.join('').split('\n')).toHaveLength(2)
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    time: '1970-01-01T00:00:00.000Z',
    level: 'error',
    message: 'failed',
    node: 'query',
    error: 'line 1\nline 2',
  })
})

test('less severe lines than asked for are not written', () => {
  const { log, lines } = opened({ least: 'warn' })
  log('info', 'nothing')
  log('warn', 'something')
  expect(lines).toHaveLength(1)
})

test('an error is told with its causes', () => {
  const told = describeError(new Error('outer', { cause: new Error('inner') }))
  expect(told).toContain('outer')
  expect(told).toContain('inner')
})
