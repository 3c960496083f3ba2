/** How the methods of the nodes' contracts travel between processes. */

import { timestampZero } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { QueryReplica } from '#nodes/query/contract.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import type { Travels } from './network.js'

export const streamingTravels: Travels<StreamingNode> = {
  serviceTime: { known: timestampZero },
  putTable: 'repeatable',
  dropTable: 'repeatable',
  term: 'repeatable',
  commit: 'once',
  prepare: 'repeatable',
  finish: 'repeatable',
  outcome: 'repeatable',
  unsettledDdl: 'repeatable',
  settleDdl: 'repeatable',
  stage: 'once',
  findConflict: 'repeatable',
  search: 'repeatable',
  scan: 'stream',
  aggregate: 'repeatable',
  flush: 'repeatable',
  buildIndex: 'once',
  keepHistory: 'repeatable',
  snapshot: 'repeatable',
  attach: 'repeatable',
  compact: 'once',
  statistics: 'repeatable',
  activity: 'repeatable',
  stop: 'absent',
}

export const queryTravels: Travels<QueryReplica> = {
  load: 'repeatable',
  release: 'repeatable',
  putSchema: 'repeatable',
  applyDeletes: 'repeatable',
  search: 'repeatable',
  scan: 'stream',
  aggregate: 'repeatable',
  stop: 'absent',
}

export const coordinatorTravels: Travels<Coordinator> = {
  timestamp: 'repeatable',
  // Elsewhere nobody can say it at once.
  timestampNow: { always: undefined },
  ddlLog: 'repeatable',
  appendDdl: 'repeatable',
  secure: 'repeatable',
  allocateSegmentIds: 'repeatable',
  leaseCounter: 'repeatable',
  segments: 'repeatable',
  checkpoints: 'repeatable',
  switchSegments: 'repeatable',
  getSetting: 'repeatable',
  putSetting: 'repeatable',
  exchangeSetting: 'repeatable',
  listSettings: 'repeatable',
  logChannelOwner: 'repeatable',
  setLogChannelOwner: 'repeatable',
  nodes: 'repeatable',
  stop: 'absent',
}
