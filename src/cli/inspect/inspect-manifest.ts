/** A sealed segment's manifest. */
import { readFile } from 'node:fs/promises'
import { print } from '#cli/print.js'
import { describeManifest } from '#engine/segment/inspect.js'

export async function inspectManifest(path: string): Promise<void> {
  for (const line of describeManifest(JSON.parse(await readFile(path, 'utf8')))) print(line)
}
