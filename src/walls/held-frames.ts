import type { Frame } from '../lib/frames.ts'
import { LoopShare } from './loop-share.ts'
import type { WallHandle } from './handle.ts'

/**
 * Back-pressure on a guest whose output comes in frames: its socket is paused while the reader takes a chunk, and while
 * the guest has used up its share of the event loop. Frames of the same read are queued, which bounds the queue.
 */
export class HeldFrames {
  readonly #wall: WallHandle
  readonly #read: (frame: Frame) => void
  readonly #share = new LoopShare()
  /** Queued frames. */
  readonly #behind: Frame[] = []
  /** Number of reasons to pause. */
  #holds = 0

  constructor(wall: WallHandle, read: (frame: Frame) => void) {
    this.#wall = wall
    this.#read = read
  }

  hear(frame: Frame): void {
    if (this.#holds > 0) this.#behind.push(frame)
    else this.#read(frame)
  }

  /** Pauses until a chunk was taken. */
  until(took: Promise<void>): void {
    this.#hold()
    const taken = () => this.#goOn()
    took.then(taken, taken)
  }

  /** Milliseconds to pause after work since `began`: calls of one guest must not starve those of the others. */
  restAfter(began: number): number {
    return this.#share.wait(performance.now() - began)
  }

  rest(ms: number): void {
    this.#hold()
    setTimeout(() => this.#goOn(), ms).unref()
  }

  #hold(): void {
    this.#holds++
    this.#wall.pause()
  }

  #goOn(): void {
    this.#holds--
    while (this.#holds === 0 && this.#behind.length > 0) this.#read(this.#behind.shift()!)
    if (this.#holds === 0) this.#wall.resume()
  }
}
