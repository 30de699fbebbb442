import type { Reached } from './reach.ts'
import type { EgressRequest } from './rules.ts'

/** What a live connection is told while it lives; it may answer by ending it. */
export interface Watch {
  /** A way out has been opened. */
  opened(request: EgressRequest, way: Reached): void
  /** Bytes leave next, and nobody else may send those; or have come in. False when they are more than may. */
  sending(bytes: number): boolean
  /** What leaves, as it can be read; false when it may not. */
  passes(piece: Buffer): boolean
  received(): boolean
  cut(because: string): void
}

/** Tells no more than why where bytes cannot be read, and ends what they came over. */
export async function cutUnread(watch: Watch, what: string, read: () => Promise<void>) {
  try {
    await read()
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    watch.cut(`${what} cannot be read: ${thrown.message}`)
  }
}
