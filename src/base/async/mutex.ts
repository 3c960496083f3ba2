/** First come, first served exclusion between async sections. */
export class Mutex {
  #tail: Promise<void> = Promise.resolve()

  /** Runs `section` after all earlier ones have ended, whether they failed or not. */
  async run<T>(section: () => Promise<T>): Promise<T> {
    const before = this.#tail
    let release: () => void = () => {}
    this.#tail = new Promise<void>((resolve) => {
      release = resolve
    })
    await before
    try {
      return await section()
    } finally {
      release()
    }
  }
}
