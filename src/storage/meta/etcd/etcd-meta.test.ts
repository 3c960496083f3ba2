import { randomUUID } from 'node:crypto'
import { test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { openEtcdMeta } from '#storage/meta/etcd/etcd-meta.js'
import { metaConformance } from '#storage/meta/meta.conformance.js'
import type { MetaStore } from '#storage/meta/meta.js'

/** host:port */
const endpoint = process.env['ELANUS_TEST_ETCD']

if (endpoint === undefined) test.skip('no etcd: ELANUS_TEST_ETCD is not set')
else {
  metaConformance('the meta store in etcd', async () => {
    const options = { endpoints: [endpoint], prefix: `test-${randomUUID()}` }
    let meta = openEtcdMeta(options, systemRuntime)
    const others: MetaStore[] = []
    return {
      meta,
      leasesEnd: true,
      reopen: async () => {
        await meta.close()
        meta = openEtcdMeta(options, systemRuntime)
        return meta
      },
      another: () => {
        const other = openEtcdMeta(options, systemRuntime)
        others.push(other)
        return other
      },
      cleanup: async () => {
        for (const store of [meta, ...others]) await store.close()
      },
    }
  })
}
