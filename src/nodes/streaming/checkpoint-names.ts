/** Names of what the streaming node keeps among the coordinator's checkpoints: positions and row ids, moved together. */

/** Where replay of the log channel begins. */
export function logCheckpoint(logChannel: string): string {
  return `log/${logChannel}`
}

/** Below it the log says nothing of the channel that is not in sealed segments and deletes objects. */
export function channelCheckpoint(channelName: string): string {
  return `channel/${channelName}`
}

/** Reads of the channel at an earlier timestamp find rows gone that they should see: VACUUM FULL. */
export function readableCheckpoint(channelName: string): string {
  return `readable/${channelName}`
}

/** A row id that was given out is not given out again, even when its row has left segments and log. */
export function rowIdCheckpoint(channelName: string): string {
  return `row-id/${channelName}`
}
