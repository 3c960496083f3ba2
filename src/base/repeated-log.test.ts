import { beforeEach, expect, test } from 'vitest'
import type { LogFields } from '#base/log.js'
import { logRepeated } from '#base/repeated-log.js'

let nowMs = 0
let lines: { readonly what: string; readonly fields: LogFields | undefined }[] = []
let retry: (what: string, error: unknown) => void

beforeEach(() => {
  nowMs = 0
  lines = []
  const log = (_: string, what: string, fields?: LogFields) => void lines.push({ what, fields })
  retry = logRepeated(log, { monotonicMs: () => nowMs })
})

test('an outage of five minutes is told once in full, then once a minute with how often it was', () => {
  for (; nowMs < 300_000; nowMs += 1000) {
    retry('log-0 is opened anew', new Error(`no answer from 127.0.0.1:${nowMs}`))
  }
  expect(lines).toHaveLength(5)
  expect(lines[0]?.fields?.['error']).toContain('repeated-log.test.ts')
  expect(lines.slice(1).map(({ fields }) => fields?.['repeated'])).toEqual([59, 59, 59, 59])
  expect(lines[1]?.fields?.['error']).toBe('Error: no answer from 127.0.0.1:60000')
})

test('other trouble, and what comes again after a while, is told at once and in full', () => {
  retry('leading', new Error('refused'))
  retry('leading', new Error('no answer'))
  retry('placing', new Error('refused'))
  nowMs = 200_000
  retry('leading', new Error('refused'))
  retry('leading', 'no error at all')
  expect(lines).toHaveLength(5)
  expect(lines.every(({ fields }) => fields?.['repeated'] === undefined)).toBe(true)
})

test('any number of kinds is told, and memory does not grow with them', () => {
  for (let i = 0; i < 1000; i += 1) retry(`kind ${'x'.repeat(i)}`, new Error('refused'))
  expect(lines).toHaveLength(1000)
})
