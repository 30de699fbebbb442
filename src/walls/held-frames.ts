import type { Frame } from '../lib/frames.ts'
import { LoopShare } from './loop-share.ts'
import type { WallHandle } from './handle.ts'

/**
 * Back-pressure on a guest whose output comes in frames: reading is held while a chunk is being taken, and while the
 * guest has used up its share of the event loop. The socket is paused then, so that the frames behind are of one read.
 */
export class HeldFrames {
  readonly #wall: WallHandle
  readonly #read: (frame: Frame) => void
  readonly #share = new LoopShare()
  /** Frames that came while reading was held. */
  readonly #behind: Frame[] = []
  /** Reasons for which reading is held. */
  #holds = 0

  constructor(wall: WallHandle, read: (frame: Frame) => void) {
    this.#wall = wall
    this.#read = read
  }

  hear(frame: Frame): void {
    if (this.#holds > 0) this.#behind.push(frame)
    else this.#read(frame)
  }

  /** Holds until a chunk was taken. */
  until(took: Promise<void>): void {
    this.#hold()
    const taken = () => this.#goOn()
    took.then(taken, taken)
  }

  /** Milliseconds to hold for work that began then: reading the calls of one guest must not stop those of all others. */
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
