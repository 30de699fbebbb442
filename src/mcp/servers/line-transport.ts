import type { Socket } from 'node:net'
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client'
import { MayflyError } from '../../contract/error.ts'
import { StrictJsonError, readStrictJson } from '../../lib/strict-json.ts'
import { clientSdk } from '../protocol-sdk.ts'

const NEWLINE = 0x0a
const DEPTH_MAX = 64
/** Unread bytes above which a program counts as hung. */
const UNREAD_BYTES_MAX = 16 * 2 ** 20

/** Transport of MCP messages as lines on a socket; a line above the limit closes the connection. */
export class LineTransport implements Transport {
  onclose?: () => void
  onerror?: (error: Error) => void
  onmessage?: Transport['onmessage']
  readonly #socket: Socket
  readonly #lineBytesMax: number
  #chunks: Buffer[] = []
  #length = 0

  constructor(socket: Socket, lineBytesMax: number) {
    this.#socket = socket
    this.#lineBytesMax = lineBytesMax
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
      if (line.length > 0) this.#receive(line)
    }
    this.#append(unread)
  }

  #append(part: Buffer): boolean {
    this.#length += part.length
    if (this.#length > this.#lineBytesMax) {
      this.#socket.destroy(
        new MayflyError('TOO_LARGE', `Cannot read a line of more than ${this.#lineBytesMax} bytes`),
      )
      return false
    }
    if (part.length > 0) this.#chunks.push(part)
    return true
  }

  /** Emits a message; drops other lines, such as log output of the program. */
  #receive(line: Buffer): void {
    try {
      const { value } = readStrictJson(line, { depthMax: DEPTH_MAX })
      this.onmessage?.(clientSdk().parseJSONRPCMessage(value))
    } catch (thrown) {
      if (!(thrown instanceof StrictJsonError) && !(thrown instanceof Error)) throw thrown
      this.onerror?.(thrown)
    }
  }
}
