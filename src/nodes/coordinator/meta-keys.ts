/**
 * Where the coordinator keeps what it knows, in the meta store. Numbers are decimal text; ids in keys are padded so that
 * byte order is number order.
 *
 *   coordinator/term                 raised by every coordinator that opens: the fence of every write
 *   coordinator/leader               id of the coordinator that leads, with its lease
 *   oracle/limit                     every timestamp handed out is below it
 *   ddl/<first version, 10>/<chunk>  entries of one append: (u32 length, bytes)*, cut into chunks
 *   counter/<name>                   next number of the counter
 *   segment/<id, 12>                 manifest, JSON
 *   checkpoint/<channel>             log position
 *   condemned/<number, 10>           names of objects that are being removed: JSON { names, terms, coordinatorTerm }
 *   setting/<key>                    opaque
 *   nodes/<kind>/<id>                a node there is, with its lease: JSON, ClusterNode
 *   ddl-appends                      the last appends to the DDL log: JSON [version, id][]
 *   owner/<log channel>              owner of the log channel: JSON { term, servesBefore }
 *   recovering                       while `elanus recover-meta` is at work: JSON
 *   owner-step/<log channel>         its last change of the above: JSON { term, step }
 */
export const metaKeys = {
  recovering: 'recovering',
  term: 'coordinator/term',
  leader: 'coordinator/leader',
  oracleLimit: 'oracle/limit',
  ddlPrefix: 'ddl/',
  ddl: (version: number, chunk: number) =>
    `ddl/${String(version).padStart(10, '0')}/${String(chunk).padStart(4, '0')}`,
  counter: (name: string) => `counter/${name}`,
  segmentPrefix: 'segment/',
  segment: (id: number) => `segment/${String(id).padStart(12, '0')}`,
  checkpointPrefix: 'checkpoint/',
  checkpoint: (channel: string) => `checkpoint/${channel}`,
  condemnedPrefix: 'condemned/',
  condemned: (number: number) => `condemned/${String(number).padStart(10, '0')}`,
  settingPrefix: 'setting/',
  setting: (key: string) => `setting/${key}`,
  nodePrefix: 'nodes/',
  node: (kind: string, id: string) => `nodes/${kind}/${id}`,
  ddlAppends: 'ddl-appends',
  owner: (logChannel: string) => `owner/${logChannel}`,
  ownerStep: (logChannel: string) => `owner-step/${logChannel}`,
} as const

/** Number of log channels: fixed when the database is made. */
export const logChannelsSetting = 'cluster/log-channels'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function encodeNumber(value: number): Uint8Array {
  return encoder.encode(String(value))
}

export function decodeNumber(value: Uint8Array): number {
  return Number(decoder.decode(value))
}

export function encodeJson(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

export function decodeJson(value: Uint8Array): unknown {
  return JSON.parse(decoder.decode(value))
}
