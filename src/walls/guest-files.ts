import type { DisplayItem } from '../contract/outcome.ts'
import type { TaskEnd } from '../contract/provider.ts'
import type { ArtifactCap } from './artifact-cap.ts'
import { lostEnd } from './ends.ts'
import { artifactSchema, displaySchema, headed } from './wire.ts'

/** More artifacts than an honest job has; the gate limits how many are returned. */
const ARTIFACTS_MAX = 1000
/** Twice the number that Mayfly's runners send. */
const DISPLAYED_MAX = 128
const DISPLAYED_BYTES_MAX = 2 * 2 ** 20
const full =
  'The artifacts of all running jobs reached the limit of this server: run the job again, or fewer jobs with large files at once'

/**
 * Received artifacts and display items of one job, bounded in number and bytes, and counted against the server's cap. A
 * method that refuses a frame returns a text for a protocol error, or the end of the job for an exceeded limit.
 */
export class GuestFiles {
  readonly #bytesMax: number
  readonly #cap: ArtifactCap
  #artifacts: { readonly path: string; readonly bytes: Uint8Array }[] = []
  #artifactBytes = 0
  readonly #display: DisplayItem[] = []
  #displayBytes = 0

  constructor(bytesMax: number, cap: ArtifactCap) {
    this.#bytesMax = bytesMax
    this.#cap = cap
  }

  get artifacts(): TaskEnd['artifacts'] {
    return this.#artifacts
  }

  get display(): readonly DisplayItem[] {
    return this.#display
  }

  get bytes(): number {
    return this.#artifactBytes + this.#displayBytes
  }

  artifact(payload: Buffer): TaskEnd | string | undefined {
    const read = headed(artifactSchema, payload)
    if (!read || read.head.size !== read.rest.length) return 'unreadable artifact'
    const { path, size } = read.head
    if (this.#artifacts.length > ARTIFACTS_MAX) return 'too many artifacts'
    if (this.#artifactBytes + size > this.#bytesMax) {
      const message = `The artifacts are larger than ${this.#bytesMax} bytes together`
      return lostEnd('error', 'ARTIFACTS_TOO_LARGE', message, 0)
    }
    if (!this.#cap.take(size)) return lostEnd('failed', 'HOST_MEMORY', full, 0)
    this.#artifactBytes += size
    // Copied: a payload is a view on a buffer with other frames, which would stay in memory uncounted.
    this.#artifacts.push({ path, bytes: new Uint8Array(read.rest) })
    return undefined
  }

  show(payload: Buffer): string | undefined {
    const read = headed(displaySchema, payload)
    if (!read) return 'unreadable display'
    const { type, path } = read.head
    this.#displayBytes += read.rest.length
    if (this.#display.length >= DISPLAYED_MAX || this.#displayBytes > DISPLAYED_BYTES_MAX)
      return 'too much to display'
    this.#display.push(path === undefined ? { type, text: read.rest.toString() } : { type, path })
    return undefined
  }

  /** Releases the bytes of the cap. Idempotent. */
  uncount(): void {
    this.#cap.giveBack(this.#artifactBytes)
    this.#artifactBytes = 0
  }

  /** Releases the bytes and drops the artifacts. */
  discard(): void {
    this.uncount()
    this.#artifacts = []
  }
}
