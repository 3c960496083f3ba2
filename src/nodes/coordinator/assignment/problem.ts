/** What is to be placed, and where it was: everything that the solver looks at. */

export interface NodeCapacity {
  readonly id: string
  /** In proportion to those of the others: memory, cores. Above 0. */
  readonly capacity: number
  /** Gets nothing, and loses what it has. */
  readonly isDraining?: boolean | undefined
}

export interface Item {
  readonly key: string
  /** Bytes, or rows per second: in proportion to those of the others. At least 0. */
  readonly load: number
  /** Different nodes that each hold all of it; fewer when there are fewer nodes. */
  readonly replicaCount: number
  /** Items that are asked together (segments of a table) and should lie on different nodes, so that all of them work. */
  readonly group?: string | undefined
  /** Nodes that have it at hand, though it is not placed there: what moves moves there rather than elsewhere. */
  readonly near?: readonly string[] | undefined
}

/** Node ids by item, in the order in which they came: log channels have one, segments as many as there are replicas. */
export type Placement = ReadonlyMap<string, readonly string[]>

export interface PlacementProblem {
  readonly nodes: readonly NodeCapacity[]
  readonly items: readonly Item[]
  readonly last: Placement
}
