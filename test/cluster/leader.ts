/** Which coordinator leads: the meta store says so under `coordinator/leader`. */
import { systemRuntime } from '#base/system-runtime.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import { openEtcdMeta } from '#storage/meta/etcd/etcd-meta.js'
import type { Programs } from './programs.js'

/** `leader` and `follower` become names of nodes; others stay. */
export async function nameCoordinators(
  names: readonly string[],
  programs: Programs,
): Promise<readonly string[]> {
  if (!names.some((name) => name === 'leader' || name === 'follower')) return names
  const meta = openEtcdMeta({ endpoints: [programs.etcd], prefix: 'elanus' }, systemRuntime)
  try {
    const found = await meta.get(metaKeys.leader)
    const leads = programs.coordinatorAt(new TextDecoder().decode(found?.value))
    const other = leads === 'coordinator-1' ? 'coordinator-2' : 'coordinator-1'
    return names.map((name) => ({ leader: leads, follower: other })[name] ?? name)
  } finally {
    await meta.close()
  }
}
