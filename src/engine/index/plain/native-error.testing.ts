/** Errors as the add-on throws them: a message and `code`, the SQLSTATE. */
export function nativeError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
