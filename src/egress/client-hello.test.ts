import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { before, test } from 'node:test'
import { connect } from 'node:tls'
import { readClientHello } from './client-hello.ts'

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
  assert.deepEqual(readClientHello(named), { kind: 'hello', serverName: 'a.example' })
  assert.deepEqual(readClientHello(unnamed), { kind: 'hello', serverName: undefined })
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
  })
  assert.equal(
    readClientHello(Buffer.concat([named, Buffer.from([20, 3, 3, 0, 1, 1])])).kind,
    'hello',
  )
})

test('Encrypted ClientHello and encrypted SNI hide the server name and are refused', () => {
  for (const type of [0xfe0d, 0xffce])
    assert.match(because(extended(named, type, Buffer.alloc(8))), /hides the server/)
})

test('A second server name, two names in one, and a name with a NUL are refused', () => {
  const name = (text: string) =>
    Buffer.concat([Buffer.from([0, 0, text.length]), Buffer.from(text, 'latin1')])
  const list = (...names: readonly Buffer[]) => {
    const all = Buffer.concat(names)
    return Buffer.concat([Buffer.from([all.length >> 8, all.length & 255]), all])
  }
  assert.match(because(extended(named, 0, list(name('b.example')))), /repeats an extension/)
  assert.equal(because(extended(unnamed, 0, list(name('b.example')))), 'hello')
  assert.match(because(extended(unnamed, 0, list(name('a'), name('b')))), /cannot be read/)
  assert.match(because(extended(unnamed, 0, list(name('a\0.example')))), /cannot be read/)
  assert.match(because(extended(unnamed, 0, list())), /cannot be read/)
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
  const ended = Buffer.from(named)
  ended.writeUInt16BE(ended.readUInt16BE(extensionsAt(named)) - 1, extensionsAt(named))
  assert.match(because(ended), /cannot be read/)
})
