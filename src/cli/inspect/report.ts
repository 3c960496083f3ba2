/** What an inspector says while it reads: lines, and what it found broken. It goes on after damage where it can. */
export interface Report {
  line(text?: string): void
  /** One sentence that says where. */
  damage(what: string): void
}

/** Writes lines as they come and remembers damage for the end. */
export class WrittenReport implements Report {
  readonly damages: string[] = []
  readonly #write: (line: string) => void

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  line(text = ''): void {
    this.#write(text)
  }

  damage(what: string): void {
    this.damages.push(what)
    this.#write(`  DAMAGED: ${what}`)
  }
}

/** `work`, whose errors are damage: decoders throw where bytes are not what they must be. */
export function orDamage<T>(report: Report, where: string, work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    report.damage(`${where}: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}
