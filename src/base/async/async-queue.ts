/** What is pushed comes out once, in order, for one reader; ends when closed (what was pushed before still comes out). */
export class AsyncQueue<T> {
  readonly #items: T[] = []
  #wake: (() => void) | undefined
  #closed = false
  #error: { readonly reason: unknown } | undefined

  push(item: T): void {
    if (this.#closed) return
    this.#items.push(item)
    this.#wake?.()
  }

  /** @param error what the reader gets after the items, if given. */
  close(error?: { readonly reason: unknown }): void {
    if (this.#closed) return
    this.#closed = true
    this.#error = error
    this.#wake?.()
  }

  async *drain(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const item = this.#items.shift()
      if (item !== undefined) {
        yield item
        continue
      }
      if (this.#closed) {
        if (this.#error !== undefined) throw this.#error.reason
        return
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
