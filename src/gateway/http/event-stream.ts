import type { ServerResponse } from 'node:http'
import type { FrameName } from './frames.ts'

/** A comment goes out this often, so that nobody on the way takes a quiet job for a dead connection. */
export const keepAliveMs = 15_000

/**
 * Server-sent events on one answer. The head goes out with the first frame, so that a job which never ran can still
 * be answered by its status. Dispose when the last frame is sent.
 */
export class EventStream implements Disposable {
  readonly #outgoing: ServerResponse
  readonly #writeMs: number
  readonly #timer: NodeJS.Timeout

  /** `writeMs` is how long a client may read nothing. */
  constructor(outgoing: ServerResponse, writeMs: number) {
    this.#outgoing = outgoing
    this.#writeMs = writeMs
    this.#timer = setInterval(() => this.#breathe(), keepAliveMs)
  }

  get hasBegun(): boolean {
    return this.#outgoing.headersSent
  }

  /** As `Send`: the promise settles when the client has read, or is gone. JSON has no line breaks, so one line does. */
  send(name: FrameName, data: string, id?: number): void | Promise<void> {
    return this.#write(`event: ${name}\ndata: ${data}\n${id === undefined ? '' : `id: ${id}\n`}\n`)
  }

  /** Sends the head at once, for a reader that is answered whatever comes. */
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
    return new Promise((resolve) => {
      const on = () => {
        outgoing.off('drain', on)
        outgoing.off('close', on)
        resolve()
      }
      outgoing.on('drain', on)
      outgoing.on('close', on)
    })
  }

  /** A client that reads nothing for as long as any other may take is cut off; comments keep a quiet one. */
  #begin(): void {
    this.#outgoing.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-accel-buffering': 'no',
    })
    this.#outgoing.socket?.setTimeout(this.#writeMs)
  }

  #breathe(): void {
    if (!this.#outgoing.writableNeedDrain) void this.#write(': quiet\n\n')
  }
}
