import { unreadBytesOf } from './guest-stream.ts'
import { RateBucket } from '../lib/rate-bucket.ts'
import { setImmediate as turn } from 'node:timers/promises'
import type { WallSocket } from './handle.ts'

/**
 * Output stream of a program: raw bytes on a socket of its own, with the kernel's back-pressure.
 *
 * Problem: a guest may write without end, and its reader may read nothing; one event loop serves all of them.
 *
 * Mechanism: the socket is paused while the reader takes a chunk, and while a token bucket of bytes is overdrawn, so that the guest
 * blocks in write(2). The gate keeps the end of what is beyond the limit; 8 MiB beyond it, it is a flood, and dropped.
 *
 * Not handled: the kill of a flooding wall, which is the caller's; writers that outlive the program (`drained` has a deadline for
 * them).
 */
export class ProgramStream {
  readonly #options: StreamOptions
  /** Resolves at EOF. */
  readonly over: Promise<void>
  /** Callbacks of waiters for the reader, called by `giveUp`. */
  readonly #waiters = new Set<() => void>()
  #bytes = 0
  #holding: Promise<void> | undefined
  #takenBytes = 0
  readonly #room = new RateBucket(paceOf)
  #pauseTimer: NodeJS.Timeout | undefined
  /** True while the end is awaited: the remaining output is no flood. */
  #isEnding = false
  #bytesMax: number
  #isGivenUp = false
  #isHurried = false

  constructor(options: StreamOptions) {
    this.#options = options
    const { socket } = options
    this.#bytesMax = options.bytesMax
    socket.on('error', () => socket.destroy())
    socket.on('data', (data: Buffer) => this.#read(data))
    this.over = new Promise((resolve) => {
      socket.once('end', resolve)
      socket.once('close', () => resolve())
    })
  }

  /** Bytes read and not yet consumed. */
  get heldBytes(): number {
    return this.#takenBytes + unreadBytesOf(this.#options.socket)
  }

  /**
   * Resolves when all output written before the call was consumed or dropped: after two polls without data. `msMax`
   * bounds the wait where other writers may continue.
   */
  async drained(msMax = Infinity): Promise<void> {
    const until = performance.now() + msMax
    this.#isEnding = true
    if (this.#pauseTimer) this.#endPause()
    // The event loop polls once between two turns, so bytes written before the call are read by then.
    for (let quiet = 0; quiet < 2 && !this.#isOver && performance.now() < until;) {
      const before = this.#bytes
      await this.#taken(this.#holding)
      await turn()
      quiet = this.#bytes === before && (!this.#holding || this.#isHurried) ? quiet + 1 : 0
    }
    await this.#taken(this.#holding)
  }

  /** Resets the byte count, for the next exec of a session. */
  renew(bytesMax: number): void {
    this.#bytesMax = bytesMax
    this.#bytes = 0
    this.#isEnding = false
  }

  /** Stops waiting for the reader. */
  giveUp(): void {
    this.#isGivenUp = true
    for (const giveUp of this.#waiters) giveUp()
  }

  /** Passes the rest on without waiting for the reader. The writer has ended, so the rest is what its socket holds. */
  hurry(): void {
    this.#isHurried = true
    for (const goOn of this.#waiters) goOn()
    // After the pieces of a chunk that waited, which come first.
    setImmediate(() => this.#options.socket.resume())
  }

  /**
   * Resolves when the reader has consumed its chunk, or after `giveUp` or `hurry`. Not Promise.race with one
   * long-lived promise: on a stream of a session each race would leak a reaction on it.
   */
  async #taken(by: void | Promise<void>): Promise<void> {
    if (!by || this.#isGivenUp || this.#isHurried) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiters.add(resolve)
    void by.then(resolve, resolve)
    await promise
    this.#waiters.delete(resolve)
  }

  close(): void {
    clearTimeout(this.#pauseTimer)
    this.#options.socket.destroy()
  }

  get #isOver(): boolean {
    const { socket } = this.#options
    return this.#isGivenUp || socket.destroyed || socket.readableEnded
  }

  #read(data: Buffer): void {
    const { flooded } = this.#options
    const bytesMax = this.#bytesMax
    const before = this.#bytes
    this.#bytes += data.length
    if (this.#bytes > bytesMax + BEYOND_BYTES_MAX) flooded()
    const kept = data.subarray(0, Math.max(0, bytesMax + BEYOND_BYTES_MAX - before))
    if (kept.length > 0) this.#hold(this.#passOn(kept), kept.length)
    if (!this.#isEnding) this.#pace(data.length)
  }

  /** Pauses reading while the bucket is overdrawn. */
  #pace(written: number): void {
    this.#room.spend(written)
    const { overdrawnMs } = this.#room
    if (overdrawnMs === 0) return
    this.#options.socket.pause()
    const waitMs = Math.max(paceOf.restMs, Math.ceil(overdrawnMs))
    this.#pauseTimer ??= setTimeout(() => this.#endPause(), waitMs)
  }

  #endPause(): void {
    clearTimeout(this.#pauseTimer)
    this.#pauseTimer = undefined
    if (!this.#holding) this.#options.socket.resume()
  }

  #passOn(data: Buffer): void | Promise<void> {
    const { take } = this.#options
    if (data.length <= CHUNK_BYTES_MAX) return take(data)
    return (async () => {
      for (let at = 0; at < data.length; at += CHUNK_BYTES_MAX)
        await this.#taken(take(data.subarray(at, at + CHUNK_BYTES_MAX)))
    })()
  }

  /** Back-pressure: pauses while the reader takes a chunk. */
  #hold(took: void | Promise<void>, size: number): void {
    if (!took || this.#isHurried) return
    this.#takenBytes = size
    this.#options.socket.pause()
    const goOn = () => this.#readerDone()
    this.#holding = took.then(goOn, goOn)
  }

  #readerDone(): void {
    this.#holding = undefined
    this.#takenBytes = 0
    if (!this.#pauseTimer) this.#options.socket.resume()
  }
}

const CHUNK_BYTES_MAX = 65_536
/** Output beyond the limit that is read, so that a program over it ends normally, and its last lines are kept. */
const BEYOND_BYTES_MAX = 8 * 2 ** 20
/** Token bucket of bytes per stream, because one event loop reads for all walls. */
export const paceOf = { burst: 8 * 2 ** 20, eachMs: (4 * 2 ** 20) / 1000, restMs: 50 } as const

export interface StreamOptions {
  readonly socket: WallSocket
  readonly bytesMax: number
  take(chunk: Uint8Array): void | Promise<void>
  /** Called for each chunk once output exceeds the limit by `BEYOND_BYTES_MAX`. */
  flooded(): void
}
