// By hand: node native/bench.mjs <vectors.f32> <dimensions> [queries.f32] [metric]
// Builds (or loads beside the vectors) an index and prints recall@10 and queries per second through the add-on:
// unfiltered, then with conditions that keep a share of the rows at random. Float32 files, row-major.
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const native = createRequire(import.meta.url)('../build/elanus.node')
const [path, dims, queryPath, metric = 'cosine'] = process.argv.slice(2)
const dimensions = Number(dims)
const floats = (file) => {
  const bytes = readFileSync(file)
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
}
const values = floats(path)
const rowCount = values.length / dimensions
const queries = queryPath ? floats(queryPath) : values.slice(0, 500 * dimensions)
const queryCount = Math.min(500, queries.length / dimensions)
const query = (i) => queries.subarray((i % queryCount) * dimensions, ((i % queryCount) + 1) * dimensions)

const file = `${path}.${metric}.hnsw`
let index
if (existsSync(file)) index = await native.loadHnsw(file)
else {
  const begin = performance.now()
  index = await native.buildHnsw({
    values, rowCount, dimensions, metric, m: 16, efConstruction: 200, threads: 64,
    onProgress: (done) => process.stderr.write(`\r${done} of ${rowCount}`),
  })
  console.log(`\nbuilt in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
  await index.save(file)
}
console.log(`${native.simd}, ${rowCount} x ${dimensions}, index ${(index.memoryBytes / 1e6).toFixed(0)} MB`)

const segment = native.createSegment()
segment.setColumn(1, { kind: 'vector', dimensions, length: rowCount, values })
let state = 12345
const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296
segment.setColumn(2, { kind: 'int32', length: rowCount, values: Int32Array.from({ length: rowCount }, () => random() * 1e6) })
segment.setTimestamps(new Float64Array(rowCount), new Float64Array(rowCount).fill(Infinity), true)
segment.setIndex(1, 1, index)

function below(limit) {
  // version 1; compare(7) attnum 2, <, native, number (engine/plan/filter-program.ts)
  const bytes = new Uint8Array(15)
  bytes.set([1, 7, 2, 0, 2, 0, 0])
  new DataView(bytes.buffer).setFloat64(7, limit, true)
  return bytes
}
const request = (i, mode, efSearch, filter) => ({
  segments: [{ segment, rowCount }], readAt: 1, attnum: 1, metric, query: query(i), k: 10, efSearch, mode, filter,
})

async function measure(efSearch, filter, inFlight) {
  let next = 0
  const total = 4000
  const begin = performance.now()
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (next < total) await native.search(request(next++, 'auto', efSearch, filter))
  }))
  return (total / (performance.now() - begin)) * 1000
}

for (const keep of [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001]) {
  const filter = keep === 1 ? undefined : below(keep * 1e6)
  const truth = []
  for (let i = 0; i < 100; i++) truth.push(new Set((await native.search(request(i, 'exact', 1, filter))).ordinals))
  for (const ef of keep === 1 ? [40, 100, 200, 400] : [40, 200]) {
    let right = 0
    let wanted = 0
    let strategy = ''
    for (let i = 0; i < 100; i++) {
      const got = await native.search(request(i, 'auto', ef, filter))
      right += [...got.ordinals].filter((row) => truth[i].has(row)).length
      wanted += truth[i].size
      strategy = got.strategies[0]
    }
    const one = await measure(ef, filter, 1)
    const many = await measure(ef, filter, 16)
    console.log(
      `keeps ${String(keep * 100).padEnd(5)}% ef ${String(ef).padEnd(3)} recall ${(right / wanted).toFixed(3)}  ` +
        `${one.toFixed(0).padStart(6)} q/s alone ${many.toFixed(0).padStart(6)} q/s 16 in flight  ${strategy}`,
    )
  }
}
