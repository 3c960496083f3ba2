import { StoreError } from '#base/errors.js'

/** The operating system's word for what went wrong, as libc's strerror writes it. */
const words: Readonly<Record<string, string>> = {
  ENOSPC: 'No space left on device',
  EDQUOT: 'Disk quota exceeded',
  EFBIG: 'File too large',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
  EIO: 'Input/output error',
  EMFILE: 'Too many open files',
  ENFILE: 'Too many open files in system',
  ENOTDIR: 'Not a directory',
  EISDIR: 'Is a directory',
}

/** errno's name (ENOENT …), undefined for other errors. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** @param action in PostgreSQL's words: `could not write to file "x"` */
export function ioError(
  outcome: 'determinate' | 'indeterminate',
  action: string,
  cause: unknown,
): StoreError {
  const code = errnoOf(cause)
  const reason = (code && words[code]) ?? (cause instanceof Error ? cause.message : String(cause))
  return new StoreError(
    outcome,
    `${action}: ${reason}`,
    cause,
    isDiskFull(cause) ? 'full' : undefined,
  )
}

/** Looks through `cause`. */
function isDiskFull(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = errnoOf(at)
    if (code === 'ENOSPC' || code === 'EDQUOT') return true
  }
  return false
}
