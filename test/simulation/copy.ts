/** What goes over the simulated network is copied, so that two nodes never share memory. */

/** Plain data deep, typed arrays by content; functions and objects of classes as they are. */
export function copy<T>(value: T): T {
  return copyValue(value) as T
}

function copyValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (ArrayBuffer.isView(value)) {
    if (value instanceof Float64Array) return value.slice()
    if (value instanceof Float32Array) return value.slice()
    if (value instanceof Uint32Array) return value.slice()
    if (value instanceof Int32Array) return value.slice()
    if (value instanceof Int16Array) return value.slice()
    if (value instanceof BigInt64Array) return value.slice()
    // A Buffer's slice() is no copy.
    if (value instanceof Uint8Array) return new Uint8Array(value)
    return value
  }
  if (Array.isArray(value)) return value.map(copyValue)
  if (value instanceof Map) {
    const entries = [...(value as ReadonlyMap<unknown, unknown>)]
    return new Map(entries.map(([key, item]) => [key, copyValue(item)]))
  }
  // A handle of something that stays where it is (staged rows) is no plain data either.
  if (Object.getPrototypeOf(value) !== Object.prototype || 'append' in value) return value
  const copied: Record<string, unknown> = {}
  for (const key in value) copied[key] = copyValue((value as Record<string, unknown>)[key])
  return copied
}
