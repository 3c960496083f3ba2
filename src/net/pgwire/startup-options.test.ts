import { expect, test } from 'vitest'
import { parseStartupOptions } from '#net/pgwire/startup-options.js'

test.each([
  ['', []],
  ['-c geqo=off', [['geqo', 'off']]],
  [
    '-cstatement_timeout=5min  --search-path=a',
    [
      ['statement_timeout', '5min'],
      ['search_path', 'a'],
    ],
  ],
  [
    String.raw`-c search_path=a\ b,\\c -c x.y=`,
    [
      ['search_path', String.raw`a b,\c`],
      ['x.y', ''],
    ],
  ],
  ['-c a=b=c', [['a', 'b=c']]],
])('%j', (options, settings) => {
  expect(parseStartupOptions(options)).toEqual(settings)
})

test.each(['-c', '-c geqo', '-B 5', 'x', '--', '-c =1'])('%j is refused', (options) => {
  expect(() => parseStartupOptions(options)).toThrow('invalid command-line argument')
})
