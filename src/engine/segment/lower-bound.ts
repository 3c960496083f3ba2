/** In ascending values: the first position in from..to whose value is at least `value`; `to` when there is none. */
export function lowerBound(
  values: Float64Array,
  value: number,
  from = 0,
  to = values.length,
): number {
  let low = from
  let high = to
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((values[middle] ?? 0) < value) low = middle + 1
    else high = middle
  }
  return low
}
