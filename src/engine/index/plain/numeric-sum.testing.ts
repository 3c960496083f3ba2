/** A sum of PostgreSQL numerics (numeric_send), as text with the largest scale of its inputs. */
export class NumericSum {
  /** In units of 10000^-fractionDigits. */
  #total = 0n
  #fractionDigits = 0
  #scale = 0
  readonly #special = new Set<number>()

  add(bytes: Uint8Array): void {
    if (bytes.length < 8) return
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const count = Math.min(view.getUint16(0), (bytes.length - 8) >> 1)
    const weight = view.getInt16(2)
    const sign = view.getUint16(4)
    this.#scale = Math.max(this.#scale, view.getUint16(6) & 0x3fff)
    if ((sign & 0x8000) !== 0) {
      this.#special.add(sign)
      return
    }
    for (let i = 0; i < count; i++) {
      const digit = BigInt(view.getUint16(8 + 2 * i))
      this.#addDigit(sign === 0x4000 ? -digit : digit, weight - i)
    }
  }

  #addDigit(digit: bigint, weight: number): void {
    if (-weight > this.#fractionDigits) {
      this.#total *= 10_000n ** BigInt(-weight - this.#fractionDigits)
      this.#fractionDigits = -weight
    }
    this.#total += digit * 10_000n ** BigInt(weight + this.#fractionDigits)
  }

  text(): string {
    const [nan, plus, minus] = [0xc000, 0xd000, 0xf000].map((word) => this.#special.has(word))
    if (nan === true || (plus === true && minus === true)) return 'NaN'
    if (plus === true) return 'Infinity'
    if (minus === true) return '-Infinity'
    const magnitude = this.#total < 0n ? -this.#total : this.#total
    const digits = String(magnitude).padStart(4 * this.#fractionDigits + 1, '0')
    const point = digits.length - 4 * this.#fractionDigits
    const fraction = digits.slice(point).padEnd(this.#scale, '0').slice(0, this.#scale)
    const sign = this.#total < 0n ? '-' : ''
    return `${sign}${digits.slice(0, point)}${this.#scale > 0 ? `.${fraction}` : ''}`
  }
}
