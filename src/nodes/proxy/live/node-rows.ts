/** Facts about nodes, their log channels, background work and memory. */
import { timestampToUnixMs } from '#base/timestamp.js'
import type { LiveRow, LiveSources } from '#nodes/proxy/live/live-sources.js'
import { int4, int8, text, timestamptz, timestamptzOrNever } from '#nodes/proxy/live/send-format.js'

export async function channels({ streaming, facts }: LiveSources): Promise<readonly LiveRow[]> {
  return (await streaming.activities()).map((channel) => [
    text(channel.logChannel),
    int8(channel.term),
    timestamptz(timestampToUnixMs(channel.serviceTime)),
    int8(channel.logStart),
    int8(channel.logEnd),
    int8(channel.logBytes),
    int4(channel.shardCount),
    text(facts?.ownerOf(channel.logChannel) ?? ''),
  ])
}

export async function jobs({ streaming, facts }: LiveSources): Promise<readonly LiveRow[]> {
  return (await streaming.activities()).flatMap((channel) =>
    channel.jobs.map((job) => [
      text(job.kind),
      text(job.state),
      int4(job.tableId),
      int8(job.segmentId),
      int4(job.indexOid),
      text(channel.logChannel),
      timestamptzOrNever(job.startedMs),
      int8(job.done),
      int8(job.total),
      text(job.node ?? facts?.ownerOf(channel.logChannel) ?? ''),
    ]),
  )
}

export async function nodes({ facts }: LiveSources): Promise<readonly LiveRow[]> {
  return ((await facts?.nodes()) ?? []).map((node) => [
    text(node.name),
    text(node.kind),
    text(node.state),
    text(node.address),
    timestamptzOrNever(node.startedMs ?? 0),
    node.version === undefined ? null : text(node.version),
  ])
}

export async function memory({ facts }: LiveSources): Promise<readonly LiveRow[]> {
  return ((await facts?.memory()) ?? []).map((area) => [
    text(area.name),
    int8(area.usedBytes),
    int8(Number.isFinite(area.budgetBytes) ? area.budgetBytes : 0),
    text(JSON.stringify(area.events)),
  ])
}
