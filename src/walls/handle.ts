import { unreadBytesOf } from './guest-stream.ts'
import type { Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { encodeFrame, FrameDecoder, type Frame } from '../lib/frames.ts'
import type { LimitHit, StreamName, Wall, WallEnd, WallExit } from '../contract/warden.ts'
import { artifactCap, type ArtifactCap } from './artifact-cap.ts'
import type { WardenClient } from './client.ts'
import type { GuestStreams } from './guest-streams.ts'
import { WorkerDeadline } from './worker-deadline.ts'

/** Largest frame that a wall may send: a result at its limit, with its head. A job sets a bound of its own. */
const FRAME_BYTES_MAX = 33 * 2 ** 20
/** Part of an incomplete frame that is not counted against the server's cap. */
const UNCOUNTED_BYTES = 2 ** 20

/** Time between EOF on the socket and the kill of a program, so that its own exit status is reported. */
const EXIT_MS_MAX = 500

/** End of a wall under a job. */
export interface HandleEnd {
  readonly how: WallEnd | 'garbled'
  readonly peakBytes: number
  readonly detail: string
  /** Exit status, if the warden reported it. */
  readonly exit?: WallExit
  /** Limit that the job had used up at that end, which may not be its cause. */
  readonly limit?: LimitHit
}

/** Listener of a wall while a job is in it. */
export interface HandleListener {
  frame(frame: Frame): void
  ended(end: HandleEnd): void
}

/** A socket to a guest, or a stream that behaves like one. */
export interface WallSocket extends Duplex {
  ref(): unknown
  unref(): unknown
}

type Streams = Readonly<Record<StreamName, WallSocket>>

/**
 * Server's end of one wall: one process, one tenant, one job at a time.
 *
 * Problem: the peer is a guest, and the end of its socket and the end that the warden reports arrive in any order.
 *
 * Mechanism: frames are decoded within a bound for each job, and incomplete frames of all walls within a shared cap; an invalid
 * frame kills the wall. The first end counts. A program whose socket is closed has some time left to exit by itself, so that its
 * exit status is reported, and frames that were sent before the exit are read first.
 *
 * Relies on the warden's report of each end. Not handled: the meaning of frames (`guest-life.ts`), the reuse of a worker
 * (`worker-spares.ts`).
 */
export class WallHandle {
  readonly wall: Wall
  readonly #warden: WardenClient
  readonly #socket: WallSocket
  readonly #forget: () => void
  readonly #decoder = new FrameDecoder(FRAME_BYTES_MAX)
  readonly #cap: ArtifactCap
  /** Bytes of an incomplete frame that are reserved from the cap. */
  #counted = 0
  #listener: HandleListener | undefined
  #ending: Promise<unknown> | undefined
  tenant: string | undefined
  jobs = 0
  /** True if it was started for a waiting job, with fewer isolates prepared: other walls are taken first. */
  hasFewSpares = false
  /** Memory bound of its last claim, which the next job may reuse; undefined if a new claim is needed. */
  memoryBound: number | undefined
  /** Deadline of a worker; that of a whole program is set by its claim and its release alone. */
  readonly deadline: WorkerDeadline
  /**
   * True while a job runs in it that may go on without its runner: a program that replaces itself by another one closes
   * the socket, and ends by its exit or at its deadline.
   */
  mayOutliveSocket = false
  /** Time at which it became idle, on the monotonic clock. */
  idleSince = performance.now()
  end: HandleEnd | undefined
  /** Exit by the warden, which may be reported after this side ended it. */
  exit: WallExit | undefined
  /** Outputs of a whole program. */
  readonly streams: Streams | undefined
  /** Opens the egress path of a guest whose connections are multiplexed on its socket. */
  openEgress: (() => Server) | undefined
  /** Streams of a guest that are multiplexed on its socket. */
  carried: Pick<GuestStreams, 'hold' | 'go'> | undefined

  constructor(
    wall: Wall,
    socket: WallSocket,
    warden: WardenClient,
    streams?: Streams,
    cap: ArtifactCap = artifactCap,
  ) {
    this.wall = wall
    this.#cap = cap
    this.#warden = warden
    this.#socket = socket
    this.streams = streams
    this.deadline = new WorkerDeadline({
      arm: (deadlineMs, ranMs) => warden.arm(wall.id, deadlineMs, ranMs),
      disarm: () => warden.rest(wall.id),
    })
    for (const stream of Object.values(streams ?? {})) stream.on('error', () => stream.destroy())
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => {
      // The close event follows.
      if (!this.mayOutliveSocket) void this.kill()
    })
    socket.on('close', () => this.#closed())
    this.#forget = warden.onLost(() =>
      this.#over({ how: 'exit', peakBytes: 0, detail: 'the warden ended' }),
    )
    warden.onEnded(wall.id, (how, peakBytes, detail, exit, limit) =>
      this.#ended({ how, peakBytes, detail, exit, ...(limit && { limit }) }),
    )
  }

  get alive(): boolean {
    return this.end === undefined && this.#ending === undefined
  }

  listen(listener: HandleListener | undefined): void {
    this.#listener = listener
    if (listener && this.end) listener.ended(this.end)
    this.#closeStreams()
  }

  send(kind: number, payload: string | Uint8Array): void {
    this.#socket.write(encodeFrame(kind, payload))
  }

  /**
   * Sends a frame to a worker without a job, and resolves with the payload of its answer. Rejects with Error, which has
   * the given name of the worker, if it does not answer in time, sends another frame, or ends.
   */
  async ask(
    {
      kind,
      payload,
      name,
    }: { readonly kind: number; readonly payload: string; readonly name: string },
    answerKind: number,
    msMax: number,
  ): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    const fail = (why: string) => reject(new Error(`${name} ${why}`))
    const timer = setTimeout(fail, msMax, 'did not answer in time')
    this.ref(true)
    this.listen({
      frame: (frame) => (frame.kind === answerKind ? resolve(frame.payload) : fail('sent garbage')),
      ended: ({ how, detail }) => fail(`ended (${how}, ${detail})`),
    })
    try {
      if (this.alive) this.send(kind, payload)
      return await promise
    } finally {
      clearTimeout(timer)
      this.listen(undefined)
      this.ref(false)
    }
  }

  /** Bytes sent and not yet read by the guest: an honest worker reads its answers. */
  get backlogBytes(): number {
    return this.#socket.writableLength
  }

  /** Received bytes of an incomplete frame. */
  get unreadBytes(): number {
    return this.#decoder.heldBytes + unreadBytesOf(this.#socket)
  }

  /** Sets the frame limit for its next job. */
  boundFrames(payloadBytesMax: number): void {
    this.#decoder.bound(Math.min(FRAME_BYTES_MAX, payloadBytesMax))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Keeps the server's process alive while a job runs, and only then. */
  ref(keep: boolean): void {
    for (const socket of [this.#socket, ...Object.values(this.streams ?? {})]) {
      if (keep) socket.ref()
      else socket.unref()
    }
  }

  /** Resolves when no process of it is left. Idempotent. */
  kill(): Promise<unknown> {
    this.#ending ??= this.#warden.kill(this.wall.id).catch(() => undefined)
    return this.#ending
  }

  /** The warden may report an exit before the last frames of the guest are read. */
  #ended(end: HandleEnd): void {
    this.exit = end.exit
    if (end.how !== 'exit' || this.#socket.closed) return this.#over(end)
    const timer = setTimeout(() => this.#over(end), EXIT_MS_MAX)
    this.#socket.once('close', () => {
      clearTimeout(timer)
      this.#over(end)
    })
  }

  #closed(): void {
    if (!this.streams) return void this.kill()
    if (this.mayOutliveSocket) return
    setTimeout(() => void this.kill(), EXIT_MS_MAX).unref()
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#listener?.frame(frame)
    } catch (error) {
      return this.#cutOff('garbled', String(error))
    }
    if (this.end || this.#count(this.#decoder.heldBytes)) return
    this.#cutOff('pressure', 'unfinished frames of all walls')
  }

  /** Ends it for a protocol error outside of its frames, such as one of its carrier. */
  garble(detail: string): void {
    this.#cutOff('garbled', detail)
  }

  /** The kill comes first, because `kill` has no effect on a wall that is over. */
  #cutOff(how: HandleEnd['how'], detail: string): void {
    void this.kill()
    this.#over({ how, peakBytes: 0, detail })
  }

  /** Counts the bytes of an incomplete frame against the server's cap; false if they do not fit. */
  #count(heldBytes: number): boolean {
    const now = Math.max(0, heldBytes - UNCOUNTED_BYTES)
    const more = now - this.#counted
    if (more > 0 && !this.#cap.take(more)) return false
    if (more < 0) this.#cap.giveBack(-more)
    this.#counted = now
    return true
  }

  #over(end: HandleEnd): void {
    if (this.end) return
    this.end = end
    this.#forget()
    this.#ending ??= Promise.resolve()
    this.#count(0)
    this.#socket.destroy()
    this.#listener?.ended(end)
    this.#closeStreams()
  }

  /** Closes the outputs once the wall has ended and no job is in it: a byte that is not read would keep them open. */
  #closeStreams(): void {
    if (!this.end || this.#listener) return
    for (const stream of Object.values(this.streams ?? {})) stream.destroy()
  }
}
