import { Zygotes, type ZygoteParts } from './zygotes.ts'

/** Limit of images with templates, besides those without an image: each has its image's imported modules in memory. */
const imagesMax = 2

export interface ImageZygoteParts extends Omit<ZygoteParts, 'forks'> {
  /** True if Mayfly built the image of this digest here. Never rejects. */
  readonly isBuilt: (digest: string) => Promise<boolean>
}

/**
 * Templates of programs by image; the least recently used image is evicted.
 *
 * A template executes the interpreter of its image with the capabilities that make walls, outside of any wall. So an
 * imported image has none, whatever the policy admits: its programs are untrusted, and start by an exec behind a wall.
 */
export class ImageZygotes {
  readonly #parts: ImageZygoteParts
  readonly #forks = { last: Promise.resolve() as Promise<unknown> }
  readonly #ofSystem: Zygotes
  /** By digest, least recently used first. */
  readonly #ofImages = new Map<string, Zygotes>()
  readonly #closing = new Set<Promise<void>>()
  #isClosed = false

  constructor(parts: ImageZygoteParts) {
    this.#parts = parts
    this.#ofSystem = this.#open()
  }

  /** Undefined for an image that was not built here. Never rejects. */
  async of(image: string | undefined): Promise<Zygotes | undefined> {
    if (image === undefined) return this.#ofSystem
    if (!this.#ofImages.has(image) && !(await this.#parts.isBuilt(image))) return undefined
    if (this.#isClosed) return undefined
    const found = this.#ofImages.get(image) ?? this.#open()
    this.#ofImages.delete(image)
    this.#ofImages.set(image, found)
    const [[oldest, other] = []] = this.#ofImages
    if (this.#ofImages.size > imagesMax && oldest !== undefined && other) {
      this.#ofImages.delete(oldest)
      this.#end(other)
    }
    return found
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const one of [this.#ofSystem, ...this.#ofImages.values()]) this.#end(one)
    this.#ofImages.clear()
    await Promise.all(this.#closing)
  }

  #open(): Zygotes {
    return new Zygotes({ ...this.#parts, forks: this.#forks })
  }

  #end(zygotes: Zygotes): void {
    const closing = zygotes.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }
}
