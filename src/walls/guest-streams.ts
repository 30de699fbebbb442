import { EventEmitter } from 'node:events'
import type { Server, Socket } from 'node:net'
import { messageOf } from '../contract/error.ts'
import type { StreamName } from '../contract/warden.ts'
import { encodeFrame, FrameDecoder } from '../lib/frames.ts'
import { GuestStream, windowBytes, type StreamCarrier } from './guest-stream.ts'

/**
 * The server's end of a machine's carrier: the runner's socket, its two outputs, and connections on their way out, on one
 * socket (`guest/carrier/wire.h` describes each frame).
 *
 * The other end is a guest that may have taken its carrier over, so everything is read as hostile input: a frame has a
 * bound, a stream sends no more than its window and only while it is open, connections have rising numbers, a bound, and come
 * only where a network was granted. The first fault ends the socket, and `garbled` is called: the wall is killed then.
 *
 * Relies on the order of the carrier's frames: what the runner said on its socket comes behind the output before it. Does not
 * handle a wall that is killed: its socket ends, and so does every stream.
 */
export interface GuestStreamsOptions {
  /** Called once, with the fault. */
  readonly garbled: (detail: string) => void
}

const kinds = { data: 1, end: 2, credit: 3, reset: 4, listen: 5, bye: 6, open: 7, over: 8 } as const
const own = { handle: 0, stdout: 1, stderr: 2 } as const
const CONNECTION_FIRST = 16
const CONNECTIONS_MAX = 64
const PAYLOAD_BYTES_MAX = 4 + 32_768

export class GuestStreams {
  readonly handle: GuestStream
  readonly streams: Readonly<Record<StreamName, GuestStream>>
  readonly #socket: Socket
  readonly #options: GuestStreamsOptions
  readonly #decoder = new FrameDecoder(PAYLOAD_BYTES_MAX)
  readonly #open = new Map<number, GuestStream>()
  readonly #kept = new Set<number>()
  #listener: EgressListener | undefined
  #lastConnection = CONNECTION_FIRST - 1
  #isOver = false
  #isGone = false

  constructor(socket: Socket, options: GuestStreamsOptions) {
    this.#socket = socket
    this.#options = options
    const carrier = this.#carrier()
    const stream = (number: number) => {
      const made = new GuestStream(carrier, number, windowBytes.own)
      this.#open.set(number, made)
      this.#kept.add(number)
      return made
    }
    this.handle = stream(own.handle)
    this.streams = { stdout: stream(own.stdout), stderr: stream(own.stderr) }
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#gone())
  }

  /** Lets the guest connect on its way out. The caller owns the listener; once it is closed connections are refused. */
  listen(): Server {
    this.#listener ??= new EgressListener()
    this.#send(kinds.listen)
    return this.#listener as unknown as Server
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
    }
  }

  #read(chunk: Buffer): void {
    if (this.#isGone) return
    try {
      for (const { kind, payload } of this.#decoder.push(chunk)) this.#take(kind, payload)
    } catch (error) {
      this.#socket.destroy()
      this.#options.garbled(messageOf(error))
    }
  }

  #take(kind: number, payload: Buffer): void {
    // Processes that outlived the runner may have connections still.
    if (this.#isOver) return
    if (kind === kinds.over) return this.#over(payload)
    if (payload.length < 4) throw fault('has no stream')
    const at = payload.readUInt32LE(0)
    if (kind === kinds.open) return this.#accept(at, payload)
    const stream = this.#open.get(at)
    // A connection may end on both sides at once.
    if (!stream && at >= CONNECTION_FIRST && at <= this.#lastConnection) return
    if (!stream) throw fault('is of no stream')
    switch (kind) {
      case kinds.data:
        return stream.receive(payload.subarray(4))
      case kinds.end:
        return stream.receiveEnd()
      case kinds.credit:
        if (payload.length !== 8) throw fault('has another length')
        return stream.receiveCredit(payload.readUInt32LE(4), windowOf(at))
      case kinds.reset:
        if (at < CONNECTION_FIRST) throw fault('resets a stream of the runner')
        this.#open.delete(at)
        return void stream.destroy()
      default:
        throw fault('is of no kind')
    }
  }

  #over(payload: Buffer): void {
    if (payload.length > 0) throw fault('has another length')
    this.#isOver = true
    this.#send(kinds.bye)
  }

  #accept(at: number, payload: Buffer): void {
    if (!this.#listener || payload.length !== 4) throw fault('opens what was not granted')
    if (at <= this.#lastConnection) throw fault('opens a stream twice')
    this.#lastConnection = at
    const count = [...this.#open.keys()].filter((one) => one >= CONNECTION_FIRST).length
    if (this.#listener.isClosed || count >= CONNECTIONS_MAX) return this.#send(kinds.reset, payload)
    const stream = new GuestStream(this.#carrier(), at, windowBytes.connection)
    stream.on('error', () => undefined)
    this.#open.set(at, stream)
    this.#listener.emit('connection', stream)
  }

  /** A stream that was destroyed here: a connection is reset, a socket of the runner is told its end. */
  #closed(at: number): void {
    this.#keep(at, false)
    const stream = this.#open.get(at)
    if (!stream || this.#isGone) return
    if (at >= CONNECTION_FIRST) {
      this.#open.delete(at)
      // The guest forgets a connection that ended both ways, once it has written the rest.
      if (stream.hasEnded && stream.writableFinished) return
      return this.#send(kinds.reset, number(at))
    }
    if (at === own.handle && !stream.writableFinished) this.#send(kinds.end, number(at))
  }

  #gone(): void {
    this.#isGone = true
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
    if (!this.#isGone && !this.#socket.destroyed) this.#socket.write(encodeFrame(kind, payload))
  }
}

const nothing = Buffer.alloc(0)
const windowOf = (at: number) => (at < CONNECTION_FIRST ? windowBytes.own : windowBytes.connection)

function number(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(value, 0)
  return bytes
}

const fault = (why: string) => new RangeError(`a frame of the carrier ${why}`)

/** Parts of a net.Server that a proxy uses. */
class EgressListener extends EventEmitter {
  isClosed = false

  close(then?: () => void): this {
    this.isClosed = true
    if (then) setImmediate(then)
    return this
  }
}
