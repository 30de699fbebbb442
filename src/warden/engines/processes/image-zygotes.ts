import { Zygotes, type ZygoteParts } from './zygotes.ts'

/** Limit of images with templates, besides those without an image: each has its image's imported modules in memory. */
const imagesMax = 2

/** Templates of programs by image; the least recently used image is evicted. */
export class ImageZygotes {
  readonly #parts: Omit<ZygoteParts, 'forks'>
  readonly #forks = { last: Promise.resolve() as Promise<unknown> }
  readonly #ofSystem: Zygotes
  /** By digest, least recently used first. */
  readonly #ofImages = new Map<string, Zygotes>()
  readonly #closing = new Set<Promise<void>>()

  constructor(parts: Omit<ZygoteParts, 'forks'>) {
    this.#parts = parts
    this.#ofSystem = this.#open()
  }

  of(image: string | undefined): Zygotes {
    if (image === undefined) return this.#ofSystem
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
