/**
 * Reads what a TLS client says in clear before anything else (RFC 8446, section 4.1.2): the server it wants. Nothing is
 * sent on before this has been read whole, so that a client that stops in the middle has reached nobody.
 */
export type Hello =
  | { readonly kind: 'more' }
  | { readonly kind: 'refused'; readonly because: string }
  | { readonly kind: 'hello'; readonly serverName: string | undefined }

/** Post-quantum key shares make some 1.5 KB. */
export const helloBytesMax = 16 * 1024
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
/** Encrypted ClientHello and the draft before it: the server that is meant cannot be seen. */
const hidden = new Set([0xfe0d, 0xffce])

const no = (because: string): Hello => ({ kind: 'refused', because })

export function readClientHello(bytes: Buffer): Hello {
  const message = handshakeOf(bytes)
  if (message === undefined) return no('this is no TLS')
  if (message.length >= 4 && message[0] !== CLIENT_HELLO) return no('this TLS starts with no hello')
  const length = message.length < 4 ? Infinity : message.readUIntBE(1, 3)
  if (message.length < 4 + length)
    return bytes.length < helloBytesMax && !(length > helloBytesMax && length !== Infinity)
      ? { kind: 'more' }
      : no('its TLS hello is too long')
  try {
    return readHello(new Reader(message.subarray(4, 4 + length)))
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    return no('its TLS hello cannot be read')
  }
}

/** What the handshake records hold together, as far as they are there; undefined when there is something else. */
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

function readHello(hello: Reader): Hello {
  hello.skip(2 + 32)
  hello.vector(1)
  hello.vector(2)
  hello.vector(1)
  if (hello.isAtEnd) return { kind: 'hello', serverName: undefined }
  const extensions = new Reader(hello.vector(2))
  if (!hello.isAtEnd) return no('its TLS hello cannot be read')
  let serverName: string | undefined
  const seen = new Set<number>()
  while (!extensions.isAtEnd) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (seen.has(type)) return no('its TLS hello says something twice')
    seen.add(type)
    if (hidden.has(type)) return no('its TLS hello hides the server that it means')
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

/** Throws RangeError where there is less than is asked for. */
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

  /** As many bytes as the number before them says. */
  vector(size: number): Buffer {
    return this.#take(this.number(size))
  }

  /** The same, with nothing after them. */
  whole(size: number): Buffer {
    const bytes = this.vector(size)
    if (!this.isAtEnd) throw new RangeError('something is left over')
    return bytes
  }

  #take(count: number): Buffer {
    const end = this.#at + count
    if (end > this.#bytes.length) throw new RangeError('too short')
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }
}
