import { EventEmitter } from 'node:events'
import type { Server, Socket } from 'node:net'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { StreamName } from '../contract/warden.ts'
import { encodeFrame, FrameDecoder } from '../lib/frames.ts'
import {
  GuestStream,
  windowBytes,
  type StreamCarrier,
  type StreamPosition,
} from './guest-stream.ts'
import { PacedSocket } from './paced-socket.ts'

/**
 * The server's end of a machine's carrier, which multiplexes the runner's socket, its two outputs and outgoing
 * connections on one socket (`guest/carrier/wire.h` describes each frame).
 *
 * The other end is a guest that may control its carrier, so every frame is read as hostile input: its size is bounded;
 * a stream sends no more than its window, and only while it is open; connections are numbered in rising order, bounded
 * in number, and refused without a granted network. The first protocol error closes the socket and calls `garbled`,
 * which kills the wall.
 *
 * A machine is copied while its carrier is paused (`hold`): no frame is in flight then, and another instance continues
 * the copy from the positions of all streams. Connections stay with the original machine; those of the copy are closed.
 *
 * Relies on the order of the carrier's frames: a frame of the runner arrives after the output that was written before
 * it. Not handled: a wall that is killed. Its socket ends, and every stream with it.
 */
export interface GuestStreamsOptions {
  /** Called once, with the protocol error. */
  readonly garbled: (detail: string) => void
  /** The socket leads to a serial line: bytes are sent as fast as the guest reports earlier ones as read. */
  readonly isPaced?: boolean
  /** Set for a copied guest, whose carrier is paused until `go`. */
  readonly from?: StreamPositions
}

/** Positions of the streams of a paused carrier. */
export interface StreamPositions {
  readonly handle: StreamPosition
  readonly stdout: StreamPosition
  readonly stderr: StreamPosition
  readonly lastConnection: number
  /** True if the guest has an egress listener. */
  readonly listens: boolean
}

const kinds = {
  data: 1,
  end: 2,
  credit: 3,
  reset: 4,
  listen: 5,
  bye: 6,
  open: 7,
  over: 8,
  hold: 9,
  held: 10,
  go: 11,
  read: 12,
} as const
const own = { handle: 0, stdout: 1, stderr: 2 } as const
const CONNECTION_FIRST = 16
const CONNECTIONS_MAX = 64
const PAYLOAD_BYTES_MAX = 4 + 32_768
/**
 * Frames without data that wait to be sent. An honest carrier reads while it writes, and what it wrote meanwhile is bounded by the
 * kernel's buffers; one that does not read could have each of its frames answered, without end.
 */
const UNSENT_MAX = 65_536
/** Data that waits to be sent: twice the windows of all streams. A stream that is reset leaves what was written to it. */
const UNSENT_BYTES_MAX = 2 * (3 * windowBytes.own + CONNECTIONS_MAX * windowBytes.connection)

export class GuestStreams {
  readonly handle: GuestStream
  readonly streams: Readonly<Record<StreamName, GuestStream>>
  readonly #socket: Socket
  readonly #options: GuestStreamsOptions
  readonly #line: PacedSocket | undefined
  readonly #decoder = new FrameDecoder(PAYLOAD_BYTES_MAX)
  readonly #open = new Map<number, GuestStream>()
  readonly #kept = new Set<number>()
  #listener: EgressListener | undefined
  #lastConnection: number
  #isOver = false
  #isGone = false
  /** Frames queued until the carrier is resumed; undefined while it is not paused. */
  #deferred: (readonly [kind: number, payload: Buffer])[] | undefined
  /** Frames without data that were not sent yet. */
  #unsent = 0
  readonly #sent = (): void => void this.#unsent--
  /** Bytes of data that were not sent yet. */
  #unsentBytes = 0
  /** Number of unanswered hold requests. */
  #holds = 0
  #held: PromiseWithResolvers<void> | undefined
  readonly #isCopy: boolean

  constructor(socket: Socket, options: GuestStreamsOptions) {
    this.#socket = socket
    this.#options = options
    this.#line = options.isPaced ? new PacedSocket(socket) : undefined
    const { from } = options
    this.#isCopy = from !== undefined
    if (from) this.#deferred = []
    this.#lastConnection = from?.lastConnection ?? CONNECTION_FIRST - 1
    if (from?.listens) this.#listener = new EgressListener(true)
    const carrier = this.#carrier()
    const stream = (name: keyof typeof own) => {
      const number = own[name]
      const made = new GuestStream(carrier, number, windowBytes.own, from?.[name])
      this.#open.set(number, made)
      this.#kept.add(number)
      return made
    }
    this.handle = stream('handle')
    this.streams = { stdout: stream('stdout'), stderr: stream('stderr') }
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#gone())
  }

  /**
   * Allows outgoing connections of the guest. The caller owns the listener; after its close connections are refused.
   */
  listen(): Server {
    if (!this.#listener || this.#listener.isClosed) {
      const isListening = this.#listener !== undefined
      this.#listener = new EgressListener()
      if (!isListening) this.#send(kinds.listen)
    }
    return this.#listener as unknown as Server
  }

  /**
   * Drains both directions and resolves with the positions; nothing is sent until `go`. Rejects with MayflyError BUSY
   * while bytes to the runner wait for room, and UNAVAILABLE if the guest does not answer; `go` must be called then
   * too.
   */
  async hold(msMax: number): Promise<StreamPositions> {
    if (this.#deferred || this.#isGone || this.#isOver) throw notHeld('it is held or at its end')
    if (this.handle.isWaiting)
      throw new MayflyError('BUSY', 'Cannot hold a guest: input is pending')
    const held = (this.#held = Promise.withResolvers<void>())
    this.#send(kinds.hold)
    this.#holds++
    this.#deferred = []
    const late = setTimeout(() => held.reject(notHeld('its carrier does not answer')), msMax)
    try {
      await held.promise
      const { stdout, stderr } = this.streams
      return {
        handle: this.handle.position,
        stdout: stdout.position,
        stderr: stderr.position,
        lastConnection: this.#lastConnection,
        listens: this.#listener !== undefined,
      }
    } finally {
      clearTimeout(late)
      this.#held = undefined
    }
  }

  /** Resumes the carrier. No effect if it is not paused. */
  go(): void {
    const deferred = this.#deferred
    if (!deferred) return
    this.#deferred = undefined
    this.#send(kinds.go, Buffer.from([this.#isCopy ? 1 : 0]))
    this.#unsent -= deferred.length
    for (const [kind, payload] of deferred) this.#send(kind, payload)
    for (const stream of this.#open.values()) stream.release()
  }

  #carrier(): StreamCarrier {
    return {
      data: (stream, bytes) => this.#send(kinds.data, Buffer.concat([number(stream), bytes])),
      // Outputs have one direction.
      end: (at) => at !== own.stdout && at !== own.stderr && this.#send(kinds.end, number(at)),
      credit: (stream, bytes) =>
        this.#send(kinds.credit, Buffer.concat([number(stream), number(bytes)])),
      closed: (stream) => this.#closed(stream),
      keep: (stream, keep) => this.#keep(stream, keep),
      isHeld: () => this.#deferred !== undefined,
    }
  }

  #read(chunk: Buffer): void {
    if (this.#isGone) return
    try {
      for (const { kind, payload } of this.#decoder.push(chunk)) {
        this.#take(kind, payload)
        if (this.#unsent > UNSENT_MAX || this.#unsentBytes > UNSENT_BYTES_MAX)
          throw fault('comes from a guest that reads no answer')
      }
    } catch (error) {
      this.#socket.destroy()
      this.#options.garbled(messageOf(error))
    }
  }

  #take(kind: number, payload: Buffer): void {
    if (kind === kinds.read) return this.#isRead(payload)
    // Processes that outlived the runner may still have connections.
    if (this.#isOver) return
    if (kind === kinds.over) return this.#over(payload)
    if (kind === kinds.held) return this.#isHeld(payload)
    if (payload.length < 4) throw fault('is too short')
    const at = payload.readUInt32LE(0)
    if (kind === kinds.open) return this.#accept(at, payload)
    const stream = this.#open.get(at)
    // Race: both sides may close a connection at the same time.
    if (!stream && at >= CONNECTION_FIRST && at <= this.#lastConnection) return
    if (!stream) throw fault('names an unknown stream')
    switch (kind) {
      case kinds.data:
        return stream.receive(payload.subarray(4))
      case kinds.end:
        return stream.receiveEnd()
      case kinds.credit:
        if (payload.length !== 8) throw fault('has a wrong length')
        return stream.receiveCredit(payload.readUInt32LE(4), windowOf(at))
      case kinds.reset:
        if (at < CONNECTION_FIRST) throw fault('resets a stream of the runner')
        this.#open.delete(at)
        return void stream.destroy()
      default:
        throw fault('has an unknown kind')
    }
  }

  #over(payload: Buffer): void {
    if (payload.length > 0) throw fault('has a wrong length')
    // Frames after it are dropped, so that an early one would make the server deaf to a runner that lives.
    const { stdout, stderr } = this.streams
    if (![this.handle, stdout, stderr].every(({ hasEnded }) => hasEnded))
      throw fault('says that the runner is gone before the end of its streams')
    this.#isOver = true
    this.#send(kinds.bye)
  }

  #isRead(payload: Buffer): void {
    if (!this.#line || payload.length !== 4) throw fault('reports bytes read without a serial line')
    this.#line.receiveRead(payload.readUInt32LE(0))
  }

  #isHeld(payload: Buffer): void {
    if (payload.length > 0 || this.#holds === 0) throw fault('answers no hold request')
    this.#holds--
    if (this.#holds === 0) this.#held?.resolve()
  }

  #accept(at: number, payload: Buffer): void {
    if (!this.#listener || payload.length !== 4)
      throw fault('opens a connection that was not granted')
    if (at <= this.#lastConnection) throw fault('opens a stream twice')
    this.#lastConnection = at
    const count = [...this.#open.keys()].filter((one) => one >= CONNECTION_FIRST).length
    if (this.#listener.isClosed || count >= CONNECTIONS_MAX) return this.#send(kinds.reset, payload)
    const stream = new GuestStream(this.#carrier(), at, windowBytes.connection)
    stream.on('error', () => undefined)
    this.#open.set(at, stream)
    this.#listener.emit('connection', stream)
  }

  /** A stream was destroyed on this side: resets a connection, or sends EOF to a socket of the runner. */
  #closed(at: number): void {
    this.#keep(at, false)
    const stream = this.#open.get(at)
    if (!stream || this.#isGone) return
    if (at >= CONNECTION_FIRST) {
      this.#open.delete(at)
      // The guest frees a connection that ended in both directions, after it has written the remaining bytes.
      if (stream.hasEnded && stream.writableFinished) return
      return this.#send(kinds.reset, number(at))
    }
    if (at === own.handle && !stream.writableFinished) this.#send(kinds.end, number(at))
  }

  #gone(): void {
    this.#isGone = true
    this.#held?.reject(notHeld('it has ended'))
    for (const stream of this.#open.values()) stream.receiveEnd()
    this.#open.clear()
  }

  #keep(at: number, keep: boolean): void {
    if (keep) this.#kept.add(at)
    else this.#kept.delete(at)
    if (this.#kept.size > 0) this.#socket.ref()
    else this.#socket.unref()
  }

  #send(kind: number, payload: Buffer = nothing): void {
    if (this.#isGone || this.#socket.destroyed) return
    if (kind === kinds.data) return this.#sendData(payload)
    this.#unsent++
    if (this.#deferred) return void this.#deferred.push([kind, payload])
    this.#write(kind, payload, this.#sent)
  }

  /** Streams write no data while the carrier is held. */
  #sendData(payload: Buffer): void {
    const { length } = payload
    this.#unsentBytes += length
    this.#write(kinds.data, payload, () => void (this.#unsentBytes -= length))
  }

  #write(kind: number, payload: Buffer, sent: () => void): void {
    const to = this.#line ?? this.#socket
    to.write(encodeFrame(kind, payload), sent)
  }
}

const nothing = Buffer.alloc(0)
const windowOf = (at: number) => (at < CONNECTION_FIRST ? windowBytes.own : windowBytes.connection)

function number(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(value, 0)
  return bytes
}

const notHeld = (why: string) => new MayflyError('UNAVAILABLE', `Cannot hold a guest: ${why}`)
const fault = (why: string) => new RangeError(`a frame of the carrier ${why}`)

/** Parts of a net.Server that a proxy uses. */
class EgressListener extends EventEmitter {
  isClosed: boolean

  constructor(isClosed = false) {
    super()
    this.isClosed = isClosed
  }

  close(then?: () => void): this {
    this.isClosed = true
    if (then) setImmediate(then)
    return this
  }
}
