/** Starts of an engine in flight, each with the resources taken so far. */
export class Starts<Resources> {
  readonly #settling = new Map<Resources, Promise<unknown>>()

  get resources(): Iterable<Resources> {
    return this.#settling.keys()
  }

  /** Waits for a start; if it fails, releases its resources before it rejects. */
  async settle<T>(
    resources: Resources,
    started: Promise<T>,
    release: (resources: Resources) => Promise<void>,
  ): Promise<T> {
    const settled = started.then(
      () => undefined,
      () => release(resources),
    )
    this.#settling.set(resources, settled)
    try {
      return await started
    } finally {
      await settled
      this.#settling.delete(resources)
    }
  }

  /** Resolves once no start is in flight any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling.values())
  }
}
