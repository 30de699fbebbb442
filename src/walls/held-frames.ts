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
  /** Number of reasons to wait. */
  #holds = 0
  #isPaused = false

  constructor(wall: WallHandle, read: (frame: Frame) => void) {
    this.#wall = wall
    this.#read = read
  }

  hear(frame: Frame): void {
    if (this.#holds === 0) return this.#read(frame)
    this.#behind.push(frame)
    this.#pause()
  }

  /** Pauses until a chunk was taken. */
  until(took: Promise<void>): void {
    this.#pause()
    this.untilSettled(took)
  }

  /** The same for what is over soon: the socket is paused only if a frame comes before, since that costs more than to wait. */
  untilSettled(soon: Promise<void>): void {
    this.#holds++
    const settled = () => this.#goOn()
    soon.then(settled, settled)
  }

  /** Milliseconds to pause after work since `began`: calls of one guest must not starve those of the others. */
  restAfter(began: number): number {
    return this.#share.wait(performance.now() - began)
  }

  rest(ms: number): void {
    this.#holds++
    this.#pause()
    setTimeout(() => this.#goOn(), ms).unref()
  }

  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#wall.pause()
  }

  #goOn(): void {
    this.#holds--
    while (this.#holds === 0 && this.#behind.length > 0) this.#read(this.#behind.shift()!)
    if (this.#holds > 0 || !this.#isPaused) return
    this.#isPaused = false
    this.#wall.resume()
  }
}
