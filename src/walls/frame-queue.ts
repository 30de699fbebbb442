import type { Frame } from '../lib/frames.ts'
import { LoopShare } from './loop-share.ts'
import type { WallHandle } from './handle.ts'

/**
 * Back-pressure on a guest whose output comes in frames: its socket is paused while the reader takes a chunk, and while
 * the guest has used up its share of the event loop. Frames of the same read are queued, which bounds the queue.
 */
export class FrameQueue {
  readonly #wall: WallHandle
  readonly #read: (frame: Frame) => void
  readonly #share = new LoopShare()
  /** Queued frames. */
  readonly #queue: Frame[] = []
  /** Number of unfinished waits; frames are queued while it is above 0. */
  #holds = 0
  #isPaused = false

  constructor(wall: WallHandle, read: (frame: Frame) => void) {
    this.#wall = wall
    this.#read = read
  }

  receive(frame: Frame): void {
    if (this.#holds === 0) return this.#read(frame)
    this.#queue.push(frame)
    this.#pause()
  }

  /** Pauses the socket until the reader has taken a chunk. */
  pauseUntil(took: Promise<void>): void {
    this.#pause()
    this.queueUntil(took)
  }

  /** Queues frames until a short task ends. Pauses the socket only if a frame arrives before: a pause costs more than the wait. */
  queueUntil(soon: Promise<void>): void {
    this.#holds++
    const settled = () => this.#resume()
    soon.then(settled, settled)
  }

  /** Milliseconds to pause after work since `began`: calls of one guest must not starve those of the others. */
  pauseMsAfter(began: number): number {
    return this.#share.wait(performance.now() - began)
  }

  pauseFor(ms: number): void {
    this.#holds++
    this.#pause()
    setTimeout(() => this.#resume(), ms).unref()
  }

  #pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#wall.pause()
  }

  #resume(): void {
    this.#holds--
    while (this.#holds === 0 && this.#queue.length > 0) this.#read(this.#queue.shift()!)
    if (this.#holds > 0 || !this.#isPaused) return
    this.#isPaused = false
    this.#wall.resume()
  }
}
