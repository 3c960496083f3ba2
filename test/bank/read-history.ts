import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { HistoryEvent } from './recorder.js'

export async function readHistory(path: string): Promise<HistoryEvent[]> {
  const events: HistoryEvent[] = []
  for await (const line of createInterface({ input: createReadStream(path) }))
    events.push(JSON.parse(line))
  return events
}
