/**
 * Starts instances that have replayed the DDL log: from an image, the files of an instance that has, and from there the entries
 * that came after it; without one from the first entry. Replaying takes 6 ms an entry, an image 0.5 s however many there are.
 *
 * An image is made by an instance that has replayed and done nothing else, so what starts from it is what replaying would have
 * made (start-instance.test.ts). One from which an instance cannot start is thrown away.
 */
import type { DdlEntry } from '#postgres/contract.js'
import { encodeImage, type Image, readImageFile, writeImageFile } from '#postgres/image-file.js'
import { Instance, type InstanceSource } from '#postgres/instance.js'
import { ddlSteps } from '#postgres/make-jobs.js'
import type { InstanceKind } from '#postgres/start-options.js'

export interface StarterOptions {
  readonly source: InstanceSource
  /** Where the newest image is kept for the next start; undefined: nowhere. */
  readonly imagePath?: string | undefined
  /** Told when there is a newer image. */
  readonly onImage?: ((version: number) => void) | undefined
}

export interface Started {
  readonly instance: Instance
  /** Where the counter of OIDs stands. */
  readonly nextOid: number | undefined
}

/** Fewer entries are replayed as fast as an image is made. */
const entriesWorthAnImage = 32
/** An image is made when the catalog has rested for so long, or so much has come that replaying takes seconds. */
const restMs = 3_000
const entriesAtMost = 512

export class InstanceStarter {
  readonly #options: StarterOptions
  #image: Image | undefined
  #timer: NodeJS.Timeout | undefined
  #making: Promise<void> | undefined
  #maker: Instance | undefined
  #closed = false

  constructor(options: StarterOptions) {
    this.#options = options
  }

  /** What was kept of the last life. */
  async load(log: readonly DdlEntry[]): Promise<void> {
    const { imagePath, source } = this.#options
    if (imagePath === undefined) return
    this.#image = await readImageFile(imagePath, source.program, log)
  }

  /**
   * @param onMade told of the instance before it has started
   * @throws Error when it ends before it has started; DatabaseError when an entry cannot be replayed
   */
  async start(
    kind: InstanceKind,
    log: readonly DdlEntry[],
    onMade: (instance: Instance) => void = () => {},
  ): Promise<Started> {
    const image = this.#image
    if (image !== undefined && image.version <= log.length) {
      try {
        return await this.#startFrom(image, kind, log, onMade)
      } catch (error) {
        if (this.#closed) throw error
        if (this.#image === image) this.#image = undefined
      }
    }
    return await this.#startFrom(undefined, kind, log, onMade)
  }

  async #startFrom(
    image: Image | undefined,
    kind: InstanceKind,
    log: readonly DdlEntry[],
    onMade: (instance: Instance) => void,
  ): Promise<Started> {
    const instance = new Instance(kind, this.#options.source, image?.files)
    try {
      onMade(instance)
      await instance.started()
      const steps = ddlSteps(log.slice(image?.version ?? 0))
      // An evaluator makes its schema of the image's by what it does after DDL.
      if (steps.length === 0 && (image === undefined || kind === 'catalog')) {
        return { instance, nextOid: image?.nextOid }
      }
      const { nextOid } = await instance.call({ kind: 'apply', steps, atomic: false })
      return { instance, nextOid: steps.length === 0 ? image?.nextOid : nextOid }
    } catch (error) {
      await instance.terminate()
      throw error
    }
  }

  /** Of an instance that has just started from `log` and was asked nothing yet; if that took long. */
  async takeImage({ instance, nextOid }: Started, log: readonly DdlEntry[]): Promise<void> {
    const { length } = log
    const isWorth = length - (this.#image?.version ?? 0) >= entriesWorthAnImage
    if (!isWorth || nextOid === undefined) return
    const files = await instance.call({ kind: 'image' })
    this.#image = { version: length, nextOid, files }
    this.#options.onImage?.(length)
    await this.#keep(this.#image, log)
  }

  /** Entries were applied: some time after the last one there is a new image. @param log grows */
  noteEntries(log: readonly DdlEntry[]): void {
    const count = log.length - (this.#image?.version ?? 0)
    if (this.#closed || count < entriesWorthAnImage) return
    if (count >= entriesAtMost) {
      this.#make(log)
      return
    }
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#make(log), restMs)
    this.#timer.unref()
  }

  /** By an instance of its own: the catalog's has run other things, and has more to do. */
  #make(log: readonly DdlEntry[]): void {
    if (this.#making !== undefined || this.#closed) return
    const entries = log.slice()
    const make = async (): Promise<void> => {
      const started = await this.start('catalog', entries, (instance) => {
        this.#maker = instance
      })
      try {
        await this.takeImage(started, entries)
      } finally {
        await started.instance.terminate()
      }
    }
    // Not made: instances replay more; the next entries try again.
    this.#making = make()
      .catch(() => {})
      .finally(() => {
        this.#making = undefined
        this.#maker = undefined
      })
  }

  async #keep(image: Image, log: readonly DdlEntry[]): Promise<void> {
    const { imagePath, source } = this.#options
    if (imagePath === undefined) return
    // A disk that is full, say: the next start replays.
    await writeImageFile(imagePath, encodeImage(image, source.program, log)).catch(() => {})
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#maker?.terminate()
    await this.#making
  }
}
