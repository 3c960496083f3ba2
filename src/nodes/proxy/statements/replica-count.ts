import type { TableInfo } from '#postgres/contract.js'

/** WITH (replicas = n); undefined: the cluster's default. */
export function replicasOf(table: TableInfo): number | undefined {
  const stated = table.options.get('replicas')
  return stated === undefined ? undefined : Number(stated)
}
