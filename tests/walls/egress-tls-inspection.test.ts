import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { TrafficAccount } from '../../src/egress/traffic-account.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { attemptsMax, Ledger } from '../../src/egress/ledger.ts'
import { nextChunk } from '../../src/egress/streams.ts'
import { inspectionLimiter } from '../../src/egress/traffic-account.ts'
import { inTime, until } from '../conformance/stand.ts'
import { openStand, openWorld, emitterInto, listening, type World } from '../fixtures/egress.ts'

let world: World
before(async () => {
  world = await openWorld()
})
after(() => world[Symbol.asyncDispose]())

/** Egress path that inspects TLS to every external name. */
async function openLooked(account = new TrafficAccount()) {
  const authority = makeAuthority(Date.now)
  const budget = { sentMax: 2 ** 30, receivedMax: 2 ** 30 }
  const ledger = new Ledger(budget, { emitter: emitterInto([]), run: 'exec_test', account })
  const network = { allow: [`GET https://*.example:${world.ports.https}/v1/*`] }
  const stand = await openStand(world, network, { authority, ledger })
  return {
    stand,
    ledger,
    async tunnel(host: string) {
      const socket = connect(stand.port, '127.0.0.1').on('error', () => undefined)
      const to = `${host}:${world.ports.https}`
      socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`)
      return { socket, head: String(await nextChunk(socket)) }
    },
    speak: (socket: Socket, host: string, more = {}) =>
      connectTls({ socket, servername: host, ca: authority.pem, ...more }).on(
        'error',
        () => undefined,
      ),
    [Symbol.asyncDispose]: () => stand[Symbol.asyncDispose](),
  }
}

const ask = (host: string) =>
  `GET /v1/x HTTP/1.1\r\nHost: ${host}:${world.ports.https}\r\nConnection: close\r\n\r\n`

async function allOf(secure: TLSSocket): Promise<string> {
  let said = ''
  secure.on('data', (chunk: Buffer) => (said += String(chunk)))
  await closed(secure)
  return said
}

/** Resolves on close, with or without an error. */
function closed(socket: Socket): Promise<void> {
  return new Promise((done) => socket.once('close', () => done()))
}

suite('TLS inspection', () => {
  test('An inspection without a request counts as one attempt, and so does one with a request', async () => {
    await using looked = await openLooked()
    const before = world.connections()
    const { socket } = await looked.tunnel('none.example')
    const secure = looked.speak(socket, 'none.example')
    await once(secure, 'secureConnect')
    secure.destroy()
    const second = await looked.tunnel('some.example')
    const asking = looked.speak(second.socket, 'some.example')
    asking.write(ask('some.example'))
    assert.match(await allOf(asking), /^HTTP\/1.1 200 /)
    const refused = await looked.tunnel('other.example')
    const third = looked.speak(refused.socket, 'other.example')
    third.write(ask('other.example').replace('/v1/', '/v2/'))
    assert.match(await allOf(third), /^HTTP\/1.1 403 /)
    const said = looked.stand.proxy.attempts.map(({ host, verdict, sent }) => [
      host,
      verdict,
      sent > 0,
    ])
    assert.deepEqual(said, [
      ['none.example', 'denied', false],
      ['some.example', 'allowed', true],
      ['other.example', 'denied', false],
    ])
    assert.match(looked.stand.proxy.attempts[0]!.because, /ended without a request/)
    assert.equal(world.connections(), before + 1)
  })

  test('A client that rejects the CA counts as such an attempt', async () => {
    await using looked = await openLooked()
    const { socket } = await looked.tunnel('a.example')
    await closed(looked.speak(socket, 'a.example', { ca: world.authority.pem }))
    const { proxy } = looked.stand
    // The alert is still in flight.
    await until(() => proxy.attempts.length > 0, 'the attempt')
    assert.deepEqual(
      proxy.attempts.map(({ verdict }) => verdict),
      ['denied'],
    )
  })

  test('A run with a full ledger gets no further inspection', async () => {
    await using looked = await openLooked()
    const early = await looked.tunnel('early.example')
    const verdict = { verdict: 'denied', because: 'it is a test' } as const
    while (!looked.ledger.isFull)
      looked.ledger.record({ scheme: 'https', host: 'a.example', port: 443 }, verdict)
    const { head } = await looked.tunnel('late.example')
    assert.match(head, /^HTTP\/1.1 403 .*limit of connection attempts/)
    // No certificate for a tunnel opened before.
    const secure = looked.speak(early.socket, 'early.example')
    let isShown = false
    secure.once('secureConnect', () => (isShown = true))
    await closed(secure)
    assert.ok(!isShown)
    assert.equal(looked.stand.proxy.attempts.length, attemptsMax)
  })

  test("Inspections beyond a run's share of CPU are queued, not refused, and closed clients leave the queue", async () => {
    const share = Promise.withResolvers<void>()
    let now = 0
    const waits: number[] = []
    const wait = (ms: number) => (waits.push(ms), share.promise.then(() => void (now += 60_000)))
    const limiter = inspectionLimiter({ now: () => now, wait })
    await limiter.run(
      () => (now += 1_000),
      () => true,
    )
    await using looked = await openLooked(new TrafficAccount(limiter))
    const opened = await Promise.all(
      ['a.example', 'b.example', 'c.example'].map(async (host) => {
        const { socket } = await looked.tunnel(host)
        return { host, socket, secure: looked.speak(socket, host) }
      }),
    )
    const shown: string[] = []
    for (const { host, secure } of opened) secure.once('secureConnect', () => shown.push(host))
    // All clients have sent their hello and the first one waits; a free server answers far faster.
    await until(() => waits.length > 0, 'a wait')
    await sleep(50)
    assert.deepEqual(shown, [])
    opened[1]!.socket.destroy()
    await sleep(20)
    share.resolve()
    for (const { host, secure } of [opened[0]!, opened[2]!]) {
      secure.write(ask(host))
      assert.match(await allOf(secure), /^HTTP\/1.1 200 /)
    }
    assert.deepEqual(shown, ['a.example', 'c.example'])
    assert.equal(waits.length, 1)
  })

  test('A client that resets its connection during the handshake with a server leaves its place to the next one', async (t) => {
    const heard = Promise.withResolvers<void>()
    const mute = createServer((socket) => {
      socket.on('error', () => undefined).once('data', () => heard.resolve())
    })
    t.after(() => mute.close())
    const port = await listening(mute)
    const authority = makeAuthority(Date.now)
    const exceptions = [...world.exceptions, `127.0.0.1:${port}`]
    const more = { authority, exceptions, inspection: 'every', connectionsMax: 1 } as const
    await using stand = await openStand(world, 'open', more)
    const socket = connect(stand.port, '127.0.0.1').on('error', () => undefined)
    const to = `a.example:${port}`
    socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`)
    await nextChunk(socket)
    const secure = connectTls({ socket, servername: 'a.example', ca: authority.pem })
    secure
      .on('error', () => undefined)
      .write(`GET / HTTP/1.1\r\nHost: ${to}\r\nConnection: close\r\n\r\n`)
    await inTime(heard.promise, 'the ClientHello to the server')
    socket.resetAndDestroy()
    const at = `a.example:${world.ports.http}`
    let said = ''
    for (let tries = 0; tries < 100 && !/^HTTP\/1.1 200 /.test(said); tries++) {
      await sleep(20)
      said = await stand.say(`GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
    }
    assert.match(said, /^HTTP\/1.1 200 /)
  })

  test('TLS renegotiation is refused, since it would cost server time outside the rate limit', async () => {
    await using looked = await openLooked()
    const { socket } = await looked.tunnel('a.example')
    const secure = looked.speak(socket, 'a.example', { maxVersion: 'TLSv1.2' })
    await once(secure, 'secureConnect')
    const isAgain = await new Promise((done) => {
      secure.once('error', () => done(false))
      secure.renegotiate({}, (error) => done(!error))
    })
    assert.equal(isAgain, false)
  })
})
