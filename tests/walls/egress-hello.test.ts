import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { after, before, suite, test } from 'node:test'
import { nextChunk } from '../../src/egress/streams.ts'
import { openStand, openWorld, type World } from '../fixtures/egress.ts'

let world: World
before(async () => {
  world = await openWorld()
})
after(() => world[Symbol.asyncDispose]())

const HANDSHAKE = 22
const changeCipherSpec = Buffer.from([20, 3, 3, 0, 1, 1])

/** Hellos of Node's client, whose first one the server answers by a HelloRetryRequest, as `change` makes them. */
async function twoHellos(change: (hello: Buffer, hellos: number) => Buffer) {
  await using stand = await openStand(world, {
    allow: [`https://a.example:${world.ports.https}`],
  })
  const raw = connect(stand.port, '127.0.0.1').on('error', () => undefined)
  const to = `a.example:${world.ports.https}`
  raw.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`)
  await nextChunk(raw)
  let hellos = 0
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      const isHello = chunk.includes('a.example')
      raw.write(isHello ? change(chunk, ++hellos) : chunk, () => done())
    },
    final: (done) => void raw.end(() => done()),
  })
  raw.on('data', (chunk) => socket.push(chunk)).on('end', () => socket.push(null))
  // The server has no key share for the first group of this client.
  const options = { servername: 'a.example', ecdhCurve: 'P-384:P-256', ca: world.authority.pem }
  const secure = connectTls({ socket, ...options })
  let said = ''
  secure.on('data', (chunk: Buffer) => (said += String(chunk))).on('error', () => raw.destroy())
  secure.write(`GET /t HTTP/1.1\r\nHost: ${to}\r\nConnection: close\r\n\r\n`)
  await once(raw, 'close')
  return { said, hellos, attempt: stand.proxy.attempts[0]! }
}

/** The hello with another name of the same length. */
function renamed(hello: Buffer): Buffer {
  const bytes = Buffer.from(hello)
  bytes.write('b', bytes.indexOf('a.example'))
  return bytes
}

suite('A server that asks for a second ClientHello', () => {
  test('answers through an opaque tunnel', async () => {
    const { said, hellos } = await twoHellos((hello) => hello)
    assert.equal(hellos, 2)
    assert.match(said, /"line":"GET \/t"/)
  })

  test('Attack: a second ClientHello with another server name does not leave', async () => {
    let firstBytes = 0
    const { attempt, hellos } = await twoHellos((hello, count) => {
      if (count === 2) return renamed(hello)
      firstBytes = hello.length
      return hello
    })
    assert.equal(hellos, 2)
    assert.deepEqual(attempt.sent, firstBytes)
    assert.match(attempt.because, /ClientHello names "b.example"/)
  })

  for (const [what, between] of [
    ['behind a ChangeCipherSpec', changeCipherSpec],
    ['at once', Buffer.alloc(0)],
  ] as const)
    test(`Attack: a second ClientHello with another server name, sent before the first answer ${what}, does not leave`, async () => {
      let firstBytes = 0
      const { attempt } = await twoHellos((hello) => {
        assert.equal(hello[0], HANDSHAKE)
        firstBytes = hello.length
        return Buffer.concat([hello, between, renamed(hello)])
      })
      assert.ok(attempt.sent <= firstBytes, `${attempt.sent} of ${firstBytes}`)
      assert.match(attempt.because, /ClientHello/)
    })
})
