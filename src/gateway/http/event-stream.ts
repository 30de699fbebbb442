import type { ServerResponse } from 'node:http'
import { anyEvent } from '../../lib/any-event.ts'
import type { FrameName } from './frames.ts'

/** Headers of a stream. */
export const eventStream = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-accel-buffering': 'no',
}

/** Keep-alive comment interval, below the idle timeout of common proxies. */
export const keepAliveMs = 15_000

/**
 * Server-sent events on one response. The head is sent with the first frame, so a job that never ran can still be
 * answered by its status. Dispose after the last frame.
 */
export class SseStream implements Disposable {
  readonly #outgoing: ServerResponse
  readonly #writeMs: number
  readonly #timer: NodeJS.Timeout

  /** `writeMs`: maximum time a client may read nothing. */
  constructor(outgoing: ServerResponse, writeMs: number) {
    this.#outgoing = outgoing
    this.#writeMs = writeMs
    this.#timer = setInterval(() => this.#breathe(), keepAliveMs)
  }

  get hasBegun(): boolean {
    return this.#outgoing.headersSent
  }

  /**
   * Implements `Send`: the promise settles on drain or close. JSON text has no line breaks, so one `data:` line is
   * enough.
   */
  send(name: FrameName, data: string, id?: number): void | Promise<void> {
    return this.#write(`event: ${name}\ndata: ${data}\n${id === undefined ? '' : `id: ${id}\n`}\n`)
  }

  /** Sends the head at once, for streams that always respond with 200. */
  begin(): void {
    void this.#write(': watching\n\n')
  }

  end(): void {
    this[Symbol.dispose]()
    this.#outgoing.end()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #write(text: string): void | Promise<void> {
    const outgoing = this.#outgoing
    if (outgoing.destroyed || outgoing.writableEnded) return
    if (!outgoing.headersSent) this.#begin()
    if (outgoing.write(text) && outgoing.writableLength < outgoing.writableHighWaterMark) return
    return anyEvent(outgoing, ['drain', 'close'])
  }

  /** Idle timeout `writeMs` cuts off a client that stops reading; keep-alive comments keep a quiet stream alive. */
  #begin(): void {
    this.#outgoing.writeHead(200, eventStream)
    this.#outgoing.socket?.setTimeout(this.#writeMs)
  }

  #breathe(): void {
    if (!this.#outgoing.writableNeedDrain) void this.#write(': quiet\n\n')
  }
}
