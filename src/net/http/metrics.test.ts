import { expect, test } from 'vitest'
import { openMetrics } from '#net/http/metrics.js'

const linesOf = (text: string, name: string) =>
  text.split('\n').filter((line) => line.startsWith(name))

test('statements and calls are counted by kind, with how long they took and how they failed', async () => {
  const metrics = openMetrics()
  metrics.statement('select', 3, undefined)
  metrics.statement('select', 700, '57014')
  metrics.call('streaming', 'search', 1, false)
  metrics.madeCall('query', 'scan', 7, true)
  const text = await metrics.text()
  expect(linesOf(text, 'elanus_statement_seconds_count')).toEqual([
    'elanus_statement_seconds_count{kind="select"} 2',
  ])
  expect(text).toContain('elanus_statement_seconds_bucket{le="0.005",kind="select"} 1')
  expect(text).toContain('elanus_statement_failures_total{kind="select",sqlstate="57014"} 1')
  expect(text).toContain('elanus_call_seconds_count{contract="streaming",method="search"} 1')
  expect(text).toContain(
    'elanus_made_call_seconds_bucket{le="0.01",contract="query",method="scan"} 1',
  )
  expect(text).toContain('elanus_made_call_failures_total{contract="query",method="scan"} 1')
  expect(text).toContain('process_resident_memory_bytes')
})

test('what is looked up shows what is there now: no sum of earlier looks, nothing of what has gone', async () => {
  const metrics = openMetrics()
  let present = ['log-0', 'log-1']
  metrics.onLook((show) => {
    for (const name of present) show('elanus_log_channel_term', 'term', 3, { log_channel: name })
    show('elanus_loads_total', 'loads', 5)
  })
  await metrics.text()
  present = ['log-1']
  const text = await metrics.text()
  expect(linesOf(text, 'elanus_log_channel_term')).toEqual([
    'elanus_log_channel_term{log_channel="log-1"} 3',
  ])
  expect(linesOf(text, 'elanus_loads_total')).toEqual(['elanus_loads_total 5'])
  expect(text).toContain('# TYPE elanus_loads_total counter')
})
