/**
 * Every bound of the storage layer with its reason. Relations between them are asserted at the end of this file, so that a
 * change that breaks one does not start.
 */
import { invariant } from '#base/errors.js'

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/** A log file is closed and the next begun at this size: the unit in which truncate gives space back, and what open checks. */
export const logFileBytesTarget = 64 * mebibyte

/** One append is one frame, written and checked as a whole; lengths in it are 32 bits, and it must fit in memory twice. */
export const logAppendBytesMax = 1024 * mebibyte

/** The length table of a frame: 4 bytes each. */
export const logAppendRecordCountMax = mebibyte

/** What one fsync of the log covers at most: bounds the wait of the first append in the group to a fraction of a second. */
export const logGroupBytesMax = 64 * mebibyte

/** What reading the log hands out at a time (a single larger append comes alone): bounds memory during replay. */
export const logReadBatchBytes = 8 * mebibyte

/** Up to here a write of the log is copied together and given to the page cache at once: cheaper than a thread's round trip. */
export const logInlineWriteBytesMax = 64 * kibibyte

/** LMDB's pages of 4 KiB allow keys of 1978 bytes; etcd has no such bound. */
export const metaKeyBytesMax = 1024

/** etcd's default bound of a request is 1.5 MiB; values that pass here must pass there. */
export const metaValueBytesMax = mebibyte

/** S3's bound of a key. */
export const objectNameBytesMax = 1024

/** ext4, XFS and APFS: bytes (APFS: characters) of one file name. */
export const fileNameBytesMax = 255

invariant(
  'LIMIT-1',
  logInlineWriteBytesMax < logGroupBytesMax,
  'an inline write is part of a group',
)
invariant('LIMIT-2', logAppendBytesMax < 2 ** 32, 'frame lengths are 32 bits')
invariant('LIMIT-3', logReadBatchBytes <= logFileBytesTarget, 'a read batch lies in one log file')
