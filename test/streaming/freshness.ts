/** How soon another session finds what one has committed. */
import pg from 'pg'
import { makeVectors } from './vectors.js'

export interface Freshness {
  readonly rows: number
  /** Rows that were not in the first answer that was asked for after the commit was acknowledged. */
  readonly late: number
  /** ms from the acknowledged commit to the row in the other session's hands. */
  readonly p50: number
  readonly p99: number
  readonly most: number
}

/**
 * One session inserts a row, another searches for its vector, `rows` times, every 10 ms at most.
 * @param firstId ids from there on are nobody else's
 * @throws Error when a row is not found within ten seconds
 */
export async function measureFreshness(
  url: string,
  dimensions: number,
  firstId: number,
  rows: number,
): Promise<Freshness> {
  const [writer, reader] = [new pg.Client(url), new pg.Client(url)]
  await writer.connect()
  await reader.connect()
  const vectors = makeVectors(rows, dimensions, 3)
  const latencies: number[] = []
  let late = 0
  for (let i = 0; i < rows; i += 1) {
    const values = [String(firstId + i), vectors.text(i)]
    await writer.query({ name: 'one', text: 'INSERT INTO docs VALUES ($1, $2)', values })
    const committed = performance.now()
    const isFound = async (): Promise<boolean> => {
      const text = 'SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT 1'
      const found = await reader.query<{ id: string }>({ name: 'find', text, values: [values[1]] })
      return found.rows[0]?.id === values[0]
    }
    for (let tries = 1; !(await isFound()); tries += 1) {
      if (tries === 1) late += 1
      if (performance.now() - committed > 10_000) throw new Error(`row ${values[0]} is not found`)
    }
    latencies.push(performance.now() - committed)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await writer.end()
  await reader.end()
  latencies.sort((a, b) => a - b)
  const at = (part: number): number => latencies[Math.floor(rows * part)] ?? 0
  return { rows, late, p50: at(0.5), p99: at(0.99), most: latencies.at(-1) ?? 0 }
}
