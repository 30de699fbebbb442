import { isUtf8 } from 'node:buffer'
import { createHmac, timingSafeEqual } from 'node:crypto'
import { encodeFrame } from '../../lib/frames.ts'

/**
 * Frames between `mayfly run` and a server of the same user, over a Unix socket.
 *
 * Problem: a uid proves nothing, because guests may run under the user's own. Mechanism: both sides read one secret from
 * a file of mode 0600 and prove that they know it. Each sends a nonce, and the HMAC of both nonces, of its own role and of
 * the server's name: the secret is never sent, a proof serves once, and none is good for the other role. The server
 * proves itself first, so a program that replaced the socket learns only a nonce. Then follows one job, or one order.
 *
 *     client  hello(nonce) ──► challenge(nonce, proof) ──► proof ──► ready ──► part… run   cancel
 *     server                                                        stdout stderr entry planned  part… outcome | refused | declined
 *
 * Relies on the folder's mode for confidentiality. Not handled: a process of the same user outside of any wall,
 * which can read the secret and all other files of the user.
 */
export const localKinds = {
  hello: 1,
  proof: 2,
  part: 3,
  run: 4,
  cancel: 5,
  status: 6,
  stop: 7,
  challenge: 17,
  ready: 18,
  stdout: 19,
  stderr: 20,
  entry: 21,
  planned: 22,
  answerPart: 23,
  outcome: 24,
  refused: 25,
  declined: 26,
  facts: 27,
} as const

export const protocol = 1
export const nonceBytes = 32
export const proofBytes = 32
/** Maximum payload of one frame; longer texts are sent in parts. */
export const partBytesMax = 2 ** 20
/** Bytes accepted from a client before its proof: one frame of this length. */
export const clientHelloBytesMax = 1 + nonceBytes
/** Maximum of all parts of a request: program, files and standard input as JSON. Larger jobs run in the command's own process. */
export const runRequestBytesMax = 64 * 2 ** 20
/** Maximum of all parts of an outcome, below the longest string of V8. */
export const outcomeBytesMax = 384 * 2 ** 20

export interface Nonces {
  readonly client: Uint8Array
  readonly server: Uint8Array
}

export function proofOf(
  secret: string,
  role: 'client' | 'server',
  name: string,
  { client, server }: Nonces,
): Buffer {
  return createHmac('sha256', Buffer.from(secret, 'hex'))
    .update(`mayfly attach ${protocol} ${role} ${name}\0`)
    .update(client)
    .update(server)
    .digest()
}

export function isProof(given: Uint8Array, expected: Uint8Array): boolean {
  return given.length === expected.length && timingSafeEqual(given, expected)
}

/** Frames of a text: parts of it, then a frame that ends it. */
export function* framesOfText(text: string, part: number, end: number): Generator<Buffer> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += partBytesMax)
    yield encodeFrame(part, bytes.subarray(at, at + partBytesMax))
  yield encodeFrame(end, '')
}

/** Collects the parts of one text within a bound. */
export class TextParts {
  readonly #max: number
  #parts: Buffer[] = []
  #bytes = 0

  constructor(bytesMax: number) {
    this.#max = bytesMax
  }

  /** Throws RangeError over the bound. */
  push(part: Buffer): void {
    this.#bytes += part.length
    if (this.#bytes > this.#max) throw new RangeError(`Cannot read more than ${this.#max} bytes`)
    this.#parts.push(part)
  }

  /** Throws TypeError for bytes that are not UTF-8. */
  take(): string {
    const bytes = Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    if (!isUtf8(bytes)) throw new TypeError('Cannot read text that is not UTF-8')
    return bytes.toString()
  }
}
