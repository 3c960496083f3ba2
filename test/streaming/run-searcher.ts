/** Started by run.ts, in a process of its own: searches on some connections whenever it is asked to, for so long. */
import pg from 'pg'
import { makeVectors } from './vectors.js'

export interface SearchTask {
  readonly url: string
  readonly connections: number
  readonly ms: number
  readonly dimensions: number
}

export interface SearchFigures {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

const queryCount = 200
let open:
  | { readonly clients: readonly pg.Client[]; readonly queries: readonly string[] }
  | undefined

process.on('message', (task: SearchTask) => {
  void search(task).then((figures) => process.send?.(figures))
})

async function search({ url, connections, ms, dimensions }: SearchTask): Promise<SearchFigures> {
  open ??= await connect(url, connections, dimensions)
  const { clients, queries } = open
  const sql = { name: 'search', text: 'SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT 10' }
  const latencies: number[] = []
  const begin = performance.now()
  await Promise.all(
    clients.map(async (client, number) => {
      for (let i = number; performance.now() - begin < ms; i += 7) {
        const before = performance.now()
        await client.query({ ...sql, values: [queries[i % queryCount]] })
        latencies.push(performance.now() - before)
      }
    }),
  )
  const seconds = (performance.now() - begin) / 1000
  latencies.sort((a, b) => a - b)
  const at = (part: number): number => latencies[Math.floor(latencies.length * part)] ?? 0
  return { perSecond: latencies.length / seconds, p50: at(0.5), p99: at(0.99) }
}

async function connect(url: string, connections: number, dimensions: number) {
  const vectors = makeVectors(queryCount, dimensions, 2)
  const queries = Array.from({ length: queryCount }, (_, i) => vectors.text(i))
  const clients = Array.from({ length: connections }, () => new pg.Client(url))
  for (const client of clients) await client.connect()
  return { clients, queries }
}
