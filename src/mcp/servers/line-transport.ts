import type { Socket } from 'node:net'
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client'
import { MayflyError } from '../../contract/error.ts'
import type { LoopLimiter } from '../../lib/loop-limiter.ts'
import { StrictJsonError, readStrictJson } from '../../lib/strict-json.ts'
import { clientSdk } from '../protocol-sdk.ts'

const NEWLINE = 0x0a
const DEPTH_MAX = 64
/** Unread bytes above which a program counts as hung. */
const UNREAD_BYTES_MAX = 16 * 2 ** 20

/**
 * Transport of MCP messages as lines on a socket; a line above the limit closes the connection, and so do the pages of one list
 * of tools that are longer together: the SDK joins 64 of them. Lines are parsed in turns of the
 * limiter; while some wait, no more bytes are read.
 */
export class LineTransport implements Transport {
  onclose?: () => void
  onerror?: (error: Error) => void
  onmessage?: Transport['onmessage']
  readonly #socket: Socket
  readonly #lineBytesMax: number
  readonly #limiter: Pick<LoopLimiter, 'run'>
  #waiting = 0
  #chunks: Buffer[] = []
  #length = 0
  /** Ids of pages that were asked for, and bytes of the pages of this list so far. */
  readonly #pages = new Set<unknown>()
  #listBytes = 0

  constructor(socket: Socket, lineBytesMax: number, limiter: Pick<LoopLimiter, 'run'>) {
    this.#socket = socket
    this.#lineBytesMax = lineBytesMax
    this.#limiter = limiter
  }

  async start(): Promise<void> {
    const socket = this.#socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.onerror?.(error))
    socket.once('close', () => this.onclose?.())
    socket.once('end', () => socket.destroy())
  }

  async send(message: JSONRPCMessage): Promise<void> {
    if (this.#socket.writableLength > UNREAD_BYTES_MAX)
      throw new MayflyError('OVERLOADED', 'Cannot send to the server: it does not read')
    if ('method' in message && message.method === 'tools/list' && 'id' in message) {
      if (message.params?.['cursor'] === undefined) this.#listBytes = 0
      this.#pages.add(message.id)
    }
    this.#socket.write(`${JSON.stringify(message)}\n`)
  }

  async close(): Promise<void> {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    let unread = chunk
    for (let end = unread.indexOf(NEWLINE); end >= 0; end = unread.indexOf(NEWLINE)) {
      if (!this.#append(unread.subarray(0, end))) return
      const line = Buffer.concat(this.#chunks, this.#length)
      this.#chunks = []
      this.#length = 0
      unread = unread.subarray(end + 1)
      if (line.length > 0) void this.#inTurn(line)
    }
    this.#append(unread)
  }

  #append(part: Buffer): boolean {
    this.#length += part.length
    if (this.#length > this.#lineBytesMax) {
      this.#refuse('a line')
      return false
    }
    if (part.length > 0) this.#chunks.push(part)
    return true
  }

  #refuse(what: string): void {
    const message = `Cannot read ${what} of more than ${this.#lineBytesMax} bytes`
    this.#socket.destroy(new MayflyError('TOO_LARGE', message))
  }

  async #inTurn(line: Buffer): Promise<void> {
    if (this.#waiting++ === 0) this.#socket.pause()
    const isWanted = () => !this.#socket.destroyed
    await this.#limiter.run(() => this.#receive(line), isWanted)
    if (--this.#waiting === 0) this.#socket.resume()
  }

  /** Emits a message; drops other lines, such as log output of the program. */
  #receive(line: Buffer): void {
    try {
      const { value } = readStrictJson(line, { depthMax: DEPTH_MAX })
      const message = clientSdk().parseJSONRPCMessage(value)
      if ('id' in message && !('method' in message) && this.#pages.delete(message.id))
        this.#listBytes += line.length
      if (this.#listBytes > this.#lineBytesMax) return this.#refuse('a list')
      this.onmessage?.(message)
    } catch (thrown) {
      if (!(thrown instanceof StrictJsonError) && !(thrown instanceof Error)) throw thrown
      this.onerror?.(thrown)
    }
  }
}
