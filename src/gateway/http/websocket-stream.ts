import type { Socket } from 'node:net'
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import type { FrameName } from './frames.ts'

/** Send buffer in bytes before back-pressure reaches the guest. */
const BUFFERED_BYTES_MAX = 65_536
const PING_EVERY_MS = 15_000
/** Pings of ten minutes: one arrives behind megabytes in the kernel's buffer, which a phone on a bad line reads at 5 KB/s. */
const PINGS_UNANSWERED_MAX = 40
/** Rounds in which no byte was taken, though the client goes on sending. */
const STALLED_MAX = 40
/** Burst of control frames per client, refilled one a second: each may cost an answer. */
const CONTROL_FRAMES_MAX = 30
/** Time for a refused client to read why. */
const CLOSE_MS = 1_000

/** `_handle`: its queue shows the progress within a write, as the idle timeout of Node reads it; undefined once closed. */
type RawSocket = Pick<Socket, 'bytesRead' | 'bytesWritten' | 'writableLength'> & {
  readonly _handle?: { readonly writeQueueSize?: number } | null
}

/** WebSocket server with limits per message, in bytes and in fragments; the caller tracks its clients. */
export function makeUpgrader(
  limits: Pick<ServerOptions, 'maxPayload' | 'maxFragments'>,
): WebSocketServer {
  const off = { perMessageDeflate: false, autoPong: false, clientTracking: false }
  return new WebSocketServer({ noServer: true, ...off, ...limits })
}

/**
 * Frames of one job as JSON text messages, `{"event": …, "data": …}`. Disconnects a client that floods with control
 * frames, sends but reads nothing, or answers no ping: the kernel takes pings for it, so the idle timeout on the raw
 * socket does not see that. Dispose when the connection ends.
 */
export class WebSocketStream implements Disposable {
  readonly #socket: WebSocket
  readonly #timer: NodeJS.Timeout
  readonly #began = performance.now()
  #controlFrames = 0
  #unanswered = 0
  readonly #raw: RawSocket
  /** State when a byte was last seen to be taken, and the rounds since. */
  #stall = { sent: '', read: 0, rounds: 0 }

  constructor(socket: WebSocket, raw: RawSocket) {
    this.#socket = socket
    this.#raw = raw
    this.#timer = setInterval(() => {
      if (socket.bufferedAmount > 0) return this.#endStalled()
      if (++this.#unanswered > PINGS_UNANSWERED_MAX) socket.terminate()
      else socket.ping()
    }, PING_EVERY_MS)
    socket.on('ping', (data) => this.#control(() => socket.pong(data)))
    socket.on('pong', () => this.#control(() => this.heard()))
  }

  /** Counts as an answer to pings: a client sends none within a message. */
  heard(): void {
    this.#unanswered = 0
  }

  /** Implements `Send`: the promise settles when the message is written or the client is gone. */
  send(name: FrameName, data: string): void | Promise<void> {
    const sent = this.#sent(name, data)
    if (this.#socket.bufferedAmount > BUFFERED_BYTES_MAX) return sent
  }

  /** Sends the last frame; resolves when written, or when the client is gone. */
  async last(name: FrameName, data: string): Promise<void> {
    await this.#sent(name, data)
  }

  /** The idle timeout of the raw socket, which sees the progress within a frame, never ends a client that sends. */
  #endStalled(): void {
    const { bytesRead: read, bytesWritten, writableLength, _handle: handle } = this.#raw
    const sent = `${bytesWritten - writableLength} ${handle?.writeQueueSize ?? 0}`
    if (this.#stall.sent !== sent) this.#stall = { sent, read, rounds: 0 }
    else if (++this.#stall.rounds > STALLED_MAX && read > this.#stall.read) this.#socket.terminate()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #sent(name: FrameName, data: string): Promise<void> {
    return new Promise((resolve) =>
      this.#socket.send(`{"event":"${name}","data":${data}}`, () => resolve()),
    )
  }

  #control(answer: () => void): void {
    this.#controlFrames += 1
    const seconds = (performance.now() - this.#began) / 1000
    if (this.#controlFrames > CONTROL_FRAMES_MAX + seconds) this.#socket.terminate()
    else if (this.#socket.bufferedAmount <= BUFFERED_BYTES_MAX) answer()
  }
}

/**
 * Ends a refused connection, and drops further bytes: `ws` would wait half a minute for the client's close
 * and buffer until then, while the bytes are no longer counted.
 */
export function endUnread(raw: Socket): void {
  raw.removeAllListeners('data')
  raw.resume()
  raw.end()
  setTimeout(() => raw.destroy(), CLOSE_MS).unref()
}
