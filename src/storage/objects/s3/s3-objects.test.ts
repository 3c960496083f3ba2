import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'vitest'
import { objectsConformance } from '#storage/objects/objects.conformance.js'
import { openS3Objects } from '#storage/objects/s3/s3-objects.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'

/** http://key:secret@host:port/bucket */
const store = process.env['ELANUS_TEST_S3']

async function open(url: URL) {
  const scratch = await scratchDirectory()
  const filesDirectory = join(scratch.path, 'files')
  await mkdir(filesDirectory)
  const options = {
    endpoint: url.origin,
    region: 'us-east-1',
    bucket: url.pathname.slice(1),
    prefix: `test-${randomUUID()}`,
    credentials: { accessKeyId: url.username, secretAccessKey: url.password },
    cacheDirectory: join(scratch.path, 'cache'),
  }
  let objects = await openS3Objects(options)
  return {
    objects,
    filesDirectory,
    reopen: async () => {
      await objects.close()
      objects = await openS3Objects(options)
      return objects
    },
    cleanup: async () => {
      await objects.close()
      await scratch.remove()
    },
  }
}

if (store === undefined) test.skip('no S3: ELANUS_TEST_S3 is not set')
else objectsConformance('the object store over S3', () => open(new URL(store)))
