/** Whether a commit is just changing the catalog: between the first thing it changes and the last, statements may fail. */
export class CatalogChanges {
  #current: Promise<void> | undefined
  #end: () => void = () => {}

  /** Changes come one at a time: whoever makes one holds the DDL lock. */
  begin(): void {
    this.#current = new Promise<void>((resolve) => {
      this.#end = resolve
    })
  }

  end(): void {
    this.#current = undefined
    this.#end()
  }

  /** Resolves when no change is under way. */
  async settled(): Promise<void> {
    while (this.#current !== undefined) await this.#current
  }
}
