/** The file `state` of a log channel, and the lock file of a data directory. */
import { readFile } from 'node:fs/promises'
import { decodeChannelState } from '#storage/wal/embedded/channel-state.js'
import { describeBytes } from './describe.js'
import type { Report } from './report.js'

export async function inspectChannelState(path: string, report: Report): Promise<void> {
  const text = await readFile(path, 'utf8')
  const state = decodeChannelState(text)
  if (state === undefined) {
    report.damage(`"${describeBytes(Buffer.from(text))}" is no state of a log channel`)
    return
  }
  const { term, start, cleanEnd } = state
  report.line('state of a log channel')
  report.line(`  last term ${term}`)
  report.line(`  positions before ${start} are forgotten`)
  report.line(
    cleanEnd === null
      ? '  not closed in order: a writer is there, or it was killed'
      : `  closed in order at position ${cleanEnd}`,
  )
}

export async function inspectLock(path: string, report: Report): Promise<void> {
  const [processId = '', started = '', boot = ''] = (await readFile(path, 'utf8')).split('\n')
  report.line(`lock of a data directory, held by process ${processId}`)
  report.line(`  started at tick ${started || 'unknown'} of boot ${boot || 'unknown'}`)
}
