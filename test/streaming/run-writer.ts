/**
 * Started by run.ts, in a process of its own: inserts rows at a rate until it is told to stop.
 * Tells how many it has inserted, every second and at the end.
 */
import pg from 'pg'
import { makeVectors } from './vectors.js'

export type Form = 'literals' | 'text' | 'binary'

export interface WriterTask {
  readonly url: string
  readonly form: Form
  /** Rows a second; Infinity comes as null: as fast as it goes. */
  readonly rate: number | null
  readonly rowsPerStatement: number
  readonly firstId: number
  readonly dimensions: number
}

const distinct = 4000

process.once('message', (task: WriterTask) => {
  void write(task).then(() => process.disconnect())
})

async function write(task: WriterTask): Promise<void> {
  const { url, form, rate, rowsPerStatement, dimensions } = task
  const vectors = makeVectors(distinct, dimensions, 1)
  const binaries =
    form === 'binary' ? Array.from({ length: distinct }, (_, i) => vectors.binary(i)) : []
  const client = new pg.Client(url)
  await client.connect()
  let id = task.firstId
  let inserted = 0
  let stopped = false
  process.on('message', () => {
    stopped = true
  })
  const places = Array.from(
    { length: rowsPerStatement },
    (_, i) => `($${2 * i + 1}, $${2 * i + 2})`,
  )
  const prepared = { name: 'insert', text: `INSERT INTO docs VALUES ${places.join()}` }
  const insert = async (): Promise<void> => {
    if (form === 'literals') {
      const rows: string[] = []
      for (let i = 0; i < rowsPerStatement; i += 1, id += 1) rows.push(`(${id}, '${textOf(id)}')`)
      await client.query(`INSERT INTO docs VALUES ${rows.join()}`)
      return
    }
    const values: unknown[] = []
    for (let i = 0; i < rowsPerStatement; i += 1, id += 1)
      values.push(String(id), form === 'text' ? textOf(id) : binaryOf(id))
    await client.query({ ...prepared, values })
  }
  // No two rows are equal: the first number is the row's own.
  const own = (of: number): number => ((of * 7919) % 10_000) / 1e4 - 0.5
  const textOf = (of: number): string =>
    vectors.text(of).replace(/^\[[^,]*/, `[${own(of).toFixed(4)}`)
  const binaryOf = (of: number): Buffer => {
    const bytes = Buffer.from(binaries[of % distinct] ?? Buffer.alloc(0))
    bytes.writeFloatBE(own(of), 4)
    return bytes
  }
  process.send?.({ ready: true })
  const begin = performance.now()
  let told = begin
  while (!stopped) {
    const due =
      rate === null ? rowsPerStatement : ((performance.now() - begin) / 1000) * rate - inserted
    if (due < rowsPerStatement) await new Promise((resolve) => setTimeout(resolve, 5))
    else {
      await insert()
      inserted += rowsPerStatement
    }
    if (performance.now() - told < 200) continue
    told = performance.now()
    process.send?.({ inserted })
    // The message that says stop comes in.
    await new Promise((resolve) => setImmediate(resolve))
  }
  process.send?.({ inserted, seconds: (performance.now() - begin) / 1000 })
  await client.end()
}
