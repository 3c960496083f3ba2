/** Reducing parts, under one name for who reduces all kinds of them. */
export { reduceAggregates } from '#engine/exec/merge-aggregates.js'
export { mergeScan } from '#engine/exec/merge-scan.js'
export { reduceSearch } from '#engine/exec/merge-search.js'
