import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { before, test } from 'node:test'
import { connect } from 'node:tls'
import { helloBytesMax, isHelloRetry, readClientHello, readSecondHello } from './client-hello.ts'

/** ClientHello as Node's own client sends it. */
async function helloOf(servername?: string): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const socket = new Duplex({ read: () => undefined, write: (chunk: Buffer) => resolve(chunk) })
  const client = connect({ socket, ...(servername && { servername }) })
  client.on('error', () => undefined)
  const bytes = await promise
  client.destroy()
  return bytes
}

/** The same hello with one more extension. */
function extended(hello: Buffer, type: number, content: Buffer): Buffer {
  const extension = Buffer.alloc(4)
  extension.writeUInt16BE(type, 0)
  extension.writeUInt16BE(content.length, 2)
  const added = 4 + content.length
  const bytes = Buffer.concat([hello, extension, content])
  bytes.writeUInt16BE(bytes.readUInt16BE(3) + added, 3)
  bytes.writeUIntBE(bytes.readUIntBE(6, 3) + added, 6, 3)
  const at = extensionsAt(hello)
  bytes.writeUInt16BE(bytes.readUInt16BE(at) + added, at)
  return bytes
}

function extensionsAt(hello: Buffer): number {
  let at = 5 + 4 + 2 + 32
  at += 1 + hello[at]!
  at += 2 + hello.readUInt16BE(at)
  return at + 1 + hello[at]!
}

let named: Buffer
let unnamed: Buffer
before(async () => {
  named = await helloOf('a.example')
  unnamed = await helloOf()
})
const because = (bytes: Buffer): string => {
  const hello = readClientHello(bytes)
  return hello.kind === 'refused' ? hello.because : hello.kind
}

test('The server name of a TLS ClientHello is parsed', () => {
  const sizes = { named: named.length, unnamed: unnamed.length }
  assert.deepEqual(readClientHello(named), {
    kind: 'hello',
    serverName: 'a.example',
    size: sizes.named,
  })
  assert.deepEqual(readClientHello(unnamed), {
    kind: 'hello',
    serverName: undefined,
    size: sizes.unnamed,
  })
})

test('A truncated ClientHello asks for more input, wherever it was cut', () => {
  for (let end = 1; end < named.length; end++)
    assert.equal(readClientHello(named.subarray(0, end)).kind, 'more', `${end}`)
})

test('A ClientHello split over records is reassembled, and later records are ignored', () => {
  const body = named.subarray(5)
  const record = (part: Buffer) =>
    Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part])
  const pieces = Array.from({ length: body.length }, (_, at) => record(body.subarray(at, at + 1)))
  assert.deepEqual(readClientHello(Buffer.concat(pieces)), {
    kind: 'hello',
    serverName: 'a.example',
    size: body.length * 6,
  })
  assert.deepEqual(readClientHello(Buffer.concat([named, changeCipherSpec])), {
    kind: 'hello',
    serverName: 'a.example',
    size: named.length,
  })
})

const changeCipherSpec = Buffer.from([20, 3, 3, 0, 1, 1])

test('A second handshake message right behind a ClientHello is refused', () => {
  const longer = Buffer.from(named)
  longer.writeUInt16BE(longer.readUInt16BE(3) + 1, 3)
  for (const bytes of [
    Buffer.concat([named, named]),
    longer,
    Buffer.concat([longer, Buffer.from([1])]),
  ])
    assert.match(because(bytes), /another message follows/)
})

test('A second ClientHello is parsed behind early data, wherever its input is cut', () => {
  const early = Buffer.from([23, 3, 3, 0, 2, 7, 7])
  const bytes = Buffer.concat([changeCipherSpec, early, named])
  for (let end = 1; end < bytes.length; end++)
    assert.equal(readSecondHello(bytes.subarray(0, end)).kind, 'more', `${end}`)
  assert.deepEqual(readSecondHello(bytes), {
    kind: 'hello',
    serverName: 'a.example',
    size: bytes.length,
  })
  const far = Buffer.alloc(70_000)
  for (let at = 0; at + 5 < far.length; at += 5 + 0x3000) far.set([23, 3, 3, 0x30, 0], at)
  assert.equal(readSecondHello(far).kind, 'refused')
})

test('A HelloRetryRequest is told from other first bytes of a server', () => {
  const random = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c'
  const retry = Buffer.from(`160303002c02000028 0303${random}00 1301 00`.replaceAll(' ', ''), 'hex')
  const hello = Buffer.from(retry)
  hello[20]! ^= 1
  assert.deepEqual([isHelloRetry(retry), isHelloRetry(hello)], [true, false])
  for (let end = 0; end < 43; end++) assert.equal(isHelloRetry(retry.subarray(0, end)), undefined)
  for (const other of [Buffer.from([21, 3, 3, 0, 2, 2, 40]), Buffer.from('SSH-2.0')])
    assert.equal(isHelloRetry(other), false)
})

test('A ServerHello that another record interrupts is no HelloRetryRequest', () => {
  const part = Buffer.from([22, 3, 3, 0, 1, 2])
  for (const next of [[23, 3, 3, 64, 0], [21], [22, 2]])
    assert.equal(isHelloRetry(Buffer.concat([part, Buffer.from(next)])), false, next.join())
  for (const next of [[], [22], [22, 3, 3, 0], [22, 3, 3, 0, 1, 0]])
    assert.equal(isHelloRetry(Buffer.concat([part, Buffer.from(next)])), undefined, next.join())
})

test('Encrypted ClientHello and encrypted SNI hide the server name and are refused', () => {
  for (const type of [0xfe0d, 0xffce])
    assert.match(because(extended(named, type, Buffer.alloc(8))), /hides the server/)
})

test('A second server name, two names in one, a name with a NUL and one longer than a host name are refused', () => {
  const name = (text: string) =>
    Buffer.concat([Buffer.from([0, text.length >> 8, text.length & 255]), Buffer.from(text)])
  const list = (...names: readonly Buffer[]) => {
    const all = Buffer.concat(names)
    return Buffer.concat([Buffer.from([all.length >> 8, all.length & 255]), all])
  }
  assert.match(because(extended(named, 0, list(name('b.example')))), /repeats an extension/)
  assert.equal(because(extended(unnamed, 0, list(name('b.example')))), 'hello')
  assert.match(because(extended(unnamed, 0, list(name('a'), name('b')))), /cannot be read/)
  assert.match(because(extended(unnamed, 0, list(name('a\0.example')))), /cannot be read/)
  assert.match(because(extended(unnamed, 0, list())), /cannot be read/)
  assert.equal(because(extended(unnamed, 0, list(name('a'.repeat(254))))), 'hello')
  assert.match(because(extended(unnamed, 0, list(name('a'.repeat(255))))), /cannot be read/)
})

test('Input that is not TLS, not a ClientHello or over the size limit is refused', () => {
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n'),
    Buffer.from([22, 2, 0, 0, 1, 1]),
    Buffer.from([22, 3, 1, 0, 0]),
    Buffer.from([0x80, 0x2e, 1, 3, 1]),
  ])
    assert.match(because(bytes), /no TLS/)
  const other = Buffer.from(named)
  other[5] = 2
  assert.match(because(other), /not start with a ClientHello/)
  const long = Buffer.from(named)
  long.writeUIntBE(0xffffff, 6, 3)
  assert.match(because(long), /too long/)
  assert.match(because(extended(named, 0xff00, Buffer.alloc(helloBytesMax))), /too long/)
  const ended = Buffer.from(named)
  ended.writeUInt16BE(ended.readUInt16BE(extensionsAt(named)) - 1, extensionsAt(named))
  assert.match(because(ended), /cannot be read/)
})
