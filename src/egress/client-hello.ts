/**
 * Parser for the TLS ClientHello (RFC 8446, section 4.1.2) and its server name (RFC 6066, section 3).
 *
 * Problem: a tunnel to an allowed host may carry TLS for another host at the same address.
 *
 * Mechanism: the hello is collected across records, up to `helloBytesMax`, before any byte of the guest is forwarded;
 * the caller compares its server name with the host of the tunnel. Encrypted ClientHello and its draft predecessor
 * (ESNI) are refused, because they hide the name.
 *
 * Not handled: anything after the hello, certificates, and the Host header inside TLS, which takes TLS inspection.
 */
export type ClientHelloResult =
  | { readonly kind: 'more' }
  | { readonly kind: 'refused'; readonly because: string }
  | { readonly kind: 'hello'; readonly serverName: string | undefined }

/** Post-quantum key shares alone take some 1.5 KB. */
export const helloBytesMax = 16 * 1024
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
/** Extensions encrypted_client_hello and encrypted_server_name (draft): both hide the server name. */
const hidden = new Set([0xfe0d, 0xffce])

const no = (because: string): ClientHelloResult => ({ kind: 'refused', because })

export function readClientHello(bytes: Buffer): ClientHelloResult {
  const message = handshakeOf(bytes)
  if (message === undefined) return no('it carries no TLS record')
  if (message.length >= 4 && message[0] !== CLIENT_HELLO)
    return no('its TLS does not start with a ClientHello')
  const length = message.length < 4 ? Infinity : message.readUIntBE(1, 3)
  if (message.length < 4 + length)
    return bytes.length < helloBytesMax && !(length > helloBytesMax && length !== Infinity)
      ? { kind: 'more' }
      : no('its ClientHello is too long')
  try {
    return readHello(new Reader(message.subarray(4, 4 + length)))
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    return no('its ClientHello cannot be read')
  }
}

/** Payload of the handshake records received so far; undefined if the input is not TLS. */
function handshakeOf(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] !== HANDSHAKE || (at + 1 < bytes.length && bytes[at + 1] !== 3))
      return parts.length > 0 ? Buffer.concat(parts) : undefined
    if (bytes.length < at + 5) break
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0) return undefined
    parts.push(bytes.subarray(at + 5, at + 5 + length))
    at += 5 + length
  }
  return Buffer.concat(parts)
}

function readHello(hello: Reader): ClientHelloResult {
  hello.skip(2 + 32)
  hello.vector(1)
  hello.vector(2)
  hello.vector(1)
  if (hello.isAtEnd) return { kind: 'hello', serverName: undefined }
  const extensions = new Reader(hello.vector(2))
  if (!hello.isAtEnd) return no('its ClientHello cannot be read')
  let serverName: string | undefined
  const seen = new Set<number>()
  while (!extensions.isAtEnd) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (seen.has(type)) return no('its ClientHello repeats an extension')
    seen.add(type)
    if (hidden.has(type)) return no('its ClientHello is encrypted and hides the server name')
    if (type === SERVER_NAME) serverName = readServerName(content)
  }
  return { kind: 'hello', serverName }
}

function readServerName(content: Buffer): string {
  const list = new Reader(new Reader(content).whole(2))
  const type = list.number(1)
  const name = list.vector(2)
  if (
    type !== 0 ||
    !list.isAtEnd ||
    name.length === 0 ||
    name.some((byte) => byte < 0x21 || byte > 0x7e)
  )
    throw new RangeError('not one host name')
  return name.toString('latin1')
}

/** Bounds-checked reader; throws RangeError for short input. */
class Reader {
  #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  skip(count: number): void {
    this.#take(count)
  }

  number(size: number): number {
    return this.#take(size).readUIntBE(0, size)
  }

  /** Variable-length vector with a length prefix of `size` bytes. */
  vector(size: number): Buffer {
    return this.#take(this.number(size))
  }

  /** The same; throws RangeError if more bytes follow. */
  whole(size: number): Buffer {
    const bytes = this.vector(size)
    if (!this.isAtEnd) throw new RangeError('unexpected bytes follow')
    return bytes
  }

  #take(count: number): Buffer {
    const end = this.#at + count
    if (end > this.#bytes.length) throw new RangeError('too short')
    const read = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return read
  }
}
