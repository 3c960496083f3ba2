/** What happened, in order: a hash over everything (a replay must give the same), and the newest lines for people. */
const keptCount = 400

export class Trace {
  #hash = 0x811c9dc5
  #lines: string[] = []
  #count = 0
  readonly counts = new Map<string, number>()
  readonly #print: ((line: string) => void) | undefined

  constructor(print?: (line: string) => void) {
    this.#print = print
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  get eventCount(): number {
    return this.#count
  }

  /** An event was run: cheap, no text is kept. */
  mark(atMs: number, label: string): void {
    this.#count += 1
    this.#mix(atMs * 1000)
    for (let i = 0; i < label.length; i += 1) this.#mix(label.charCodeAt(i))
  }

  /** Something worth reading. */
  say(atMs: number, who: string, what: string): void {
    const line = `${atMs.toFixed(3).padStart(10)} ${who.padEnd(10)} ${what}`
    for (let i = 0; i < line.length; i += 1) this.#mix(line.charCodeAt(i))
    if (this.#lines.length >= 2 * keptCount) this.#lines = this.#lines.slice(keptCount)
    this.#lines.push(line)
    this.#print?.(line)
  }

  count(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times)
  }

  tail(): readonly string[] {
    return this.#lines.slice(-keptCount)
  }

  #mix(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value | 0), 0x01000193)
  }
}
