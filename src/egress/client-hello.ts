/**
 * Parser for the TLS ClientHello (RFC 8446, section 4.1.2) and its server name (RFC 6066, section 3).
 *
 * Problem: a tunnel to an allowed host may carry TLS for another host at the same address.
 *
 * Mechanism: the hello is collected across records, up to `helloBytesMax`, before any byte of the guest is forwarded;
 * the caller compares its server name with the host of the tunnel. Encrypted ClientHello and its draft predecessor
 * (ESNI) are refused, because they hide the name.
 *
 * A server that takes no key share of the first hello asks for a second one (HelloRetryRequest, section 4.1.4), and
 * OpenSSL selects the certificate by the name in that: it is checked like the first.
 *
 * Not handled: anything after the hellos, certificates, and the Host header inside TLS, which takes TLS inspection.
 */
export type ClientHelloResult =
  | { readonly kind: 'more' }
  | { readonly kind: 'refused'; readonly because: string }
  | ClientHello

export interface ClientHello {
  readonly kind: 'hello'
  readonly serverName: string | undefined
  /** Size of its records in bytes, with the records before it. */
  readonly size: number
}

/** Post-quantum key shares alone take some 1.5 KB. */
export const helloBytesMax = 16 * 1024
/** Early data before a second hello, which its server skips. */
const earlyBytesMax = 64 * 1024
const CHANGE_CIPHER_SPEC = 20
const HANDSHAKE = 22
const APPLICATION_DATA = 23
const recordHeadBytes = 5
const CLIENT_HELLO = 1
const SERVER_NAME = 0
/** A host name has 253 characters at most, and perhaps a final dot. Longer ones would fill outcomes and events. */
const nameBytesMax = 254
/** Extensions encrypted_client_hello and encrypted_server_name (draft): both hide the server name. */
const hidden = new Set([0xfe0d, 0xffce])

const no = (because: string): ClientHelloResult => ({ kind: 'refused', because })

export function readClientHello(bytes: Buffer): ClientHelloResult {
  const { message, size } = handshakeOf(bytes)
  if (message === undefined) return no('it carries no TLS record')
  if (message.length >= 4 && message[0] !== CLIENT_HELLO)
    return no('its TLS does not start with a ClientHello')
  const length = message.length < 4 ? 0 : message.readUIntBE(1, 3)
  const isWhole = message.length >= 4 + length
  if (length > helloBytesMax || (!isWhole && bytes.length >= helloBytesMax))
    return no('its ClientHello is too long')
  if (!isWhole) return { kind: 'more' }
  if (message.length > 4 + length || size > bytes.length)
    return no('another message follows its ClientHello at once')
  try {
    return readHello(new Reader(message.subarray(4)), size)
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    return no('its ClientHello cannot be read')
  }
}

/** Reads the hello after a HelloRetryRequest, behind what a client may have sent before it: early data, a ChangeCipherSpec. */
export function readSecondHello(bytes: Buffer): ClientHelloResult {
  let at = 0
  while (bytes[at] === CHANGE_CIPHER_SPEC || bytes[at] === APPLICATION_DATA) {
    if (bytes.length < at + recordHeadBytes) return { kind: 'more' }
    at += recordHeadBytes + bytes.readUInt16BE(at + 3)
  }
  if (at > earlyBytesMax) return no('its early data is too long')
  if (at >= bytes.length) return { kind: 'more' }
  const hello = readClientHello(bytes.subarray(at))
  return hello.kind === 'hello' ? { ...hello, size: at + hello.size } : hello
}

const SERVER_HELLO = 2
/** SHA-256 of "HelloRetryRequest", in place of the server's random. */
const retryRandom = Buffer.from(
  'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c',
  'hex',
)

/** True if a server's first bytes are a HelloRetryRequest; undefined if it takes more of them to know. */
export function isHelloRetry(bytes: Buffer): boolean | undefined {
  const { message, isInterrupted } = handshakeOf(bytes)
  if (message === undefined || (message.length > 0 && message[0] !== SERVER_HELLO)) return false
  if (message.length >= 38) return message.subarray(6, 38).equals(retryRandom)
  return isInterrupted ? false : undefined
}

interface HandshakeData {
  /** Payload of the handshake records received so far; undefined if the input is not TLS. */
  readonly message: Buffer | undefined
  readonly size: number
  /** True if another kind of record follows, which no message may continue behind (RFC 8446, section 5.1). */
  readonly isInterrupted: boolean
}

const noHandshake: HandshakeData = { message: undefined, size: 0, isInterrupted: false }

function handshakeOf(bytes: Buffer): HandshakeData {
  const parts: Buffer[] = []
  let at = 0
  let isInterrupted = false
  while (at < bytes.length) {
    isInterrupted = bytes[at] !== HANDSHAKE || (at + 1 < bytes.length && bytes[at + 1] !== 3)
    if (isInterrupted && parts.length === 0) return noHandshake
    if (isInterrupted) break
    if (bytes.length < at + recordHeadBytes) break
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0) return noHandshake
    parts.push(bytes.subarray(at + recordHeadBytes, at + recordHeadBytes + length))
    at += recordHeadBytes + length
  }
  return { message: Buffer.concat(parts), size: at, isInterrupted }
}

function readHello(hello: Reader, size: number): ClientHelloResult {
  hello.skip(2 + 32)
  hello.vector(1)
  hello.vector(2)
  hello.vector(1)
  if (hello.isAtEnd) return { kind: 'hello', serverName: undefined, size }
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
  return { kind: 'hello', serverName, size }
}

function readServerName(content: Buffer): string {
  const list = new Reader(new Reader(content).whole(2))
  const type = list.number(1)
  const name = list.vector(2)
  if (
    type !== 0 ||
    !list.isAtEnd ||
    name.length === 0 ||
    name.length > nameBytesMax ||
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
