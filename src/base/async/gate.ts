/** Closing waits for those inside; after close nobody enters. */
export class Gate {
  #inside = 0
  #closed = false
  #whenEmpty: (() => void) | undefined

  /** @returns false when the gate is closed. Call leave() exactly once after true. */
  enter(): boolean {
    if (this.#closed) return false
    this.#inside += 1
    return true
  }

  leave(): void {
    this.#inside -= 1
    if (this.#inside === 0) this.#whenEmpty?.()
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#inside === 0) return
    await new Promise<void>((resolve) => {
      this.#whenEmpty = resolve
    })
  }
}
