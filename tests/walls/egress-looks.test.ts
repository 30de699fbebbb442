import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { Account } from '../../src/egress/account.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { attemptsMax, Ledger } from '../../src/egress/ledger.ts'
import { nextChunk } from '../../src/egress/streams.ts'
import { turnsOfLooks } from '../../src/egress/account.ts'
import { until } from '../conformance/stand.ts'
import { openStand, openWorld, voiceInto, type World } from '../fixtures/egress.ts'

let world: World
before(async () => {
  world = await openWorld()
})
after(() => world[Symbol.asyncDispose]())

/** A way out that looks into the TLS of every name outside. */
async function openLooked(account = new Account()) {
  const authority = makeAuthority(Date.now)
  const budget = { sentMax: 2 ** 30, receivedMax: 2 ** 30 }
  const ledger = new Ledger(budget, { voice: voiceInto([]), run: 'exec_test', account })
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

/** Whether in peace or by an error. */
function closed(socket: Socket): Promise<void> {
  return new Promise((done) => socket.once('close', () => done()))
}

suite('TLS that is looked into', () => {
  test('Where nothing is asked in it, it is an attempt all the same; where something is, it is one', async () => {
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
    assert.match(looked.stand.proxy.attempts[0]!.because, /before anything was asked/)
    assert.equal(world.connections(), before + 1)
  })

  test('What does not trust this server is such an attempt', async () => {
    await using looked = await openLooked()
    const { socket } = await looked.tunnel('a.example')
    await closed(looked.speak(socket, 'a.example', { ca: world.authority.pem }))
    const { proxy } = looked.stand
    // The alert is on its way.
    await until(() => proxy.attempts.length > 0, 'the attempt')
    assert.deepEqual(
      proxy.attempts.map(({ verdict }) => verdict),
      ['denied'],
    )
  })

  test('A run that has asked for too much is not looked into any more', async () => {
    await using looked = await openLooked()
    const early = await looked.tunnel('early.example')
    const verdict = { verdict: 'denied', because: 'it is a test' } as const
    while (!looked.ledger.isFull)
      looked.ledger.enter({ scheme: 'https', host: 'a.example', port: 443 }, verdict)
    const { head } = await looked.tunnel('late.example')
    assert.match(head, /^HTTP\/1.1 403 .*too much/)
    // One whose tunnel was open before gets no certificate.
    const secure = looked.speak(early.socket, 'early.example')
    let isShown = false
    secure.once('secureConnect', () => (isShown = true))
    await closed(secure)
    assert.ok(!isShown)
    assert.equal(looked.stand.proxy.attempts.length, attemptsMax)
  })

  test('Beyond its share of the server it waits, and is not refused; who gave up is left out', async () => {
    const share = Promise.withResolvers<void>()
    let now = 0
    const waits: number[] = []
    const wait = (ms: number) => (waits.push(ms), share.promise.then(() => void (now += 60_000)))
    const turns = turnsOfLooks({ now: () => now, wait })
    await turns.run(
      () => (now += 1_000),
      () => true,
    )
    await using looked = await openLooked(new Account(turns))
    const opened = await Promise.all(
      ['a.example', 'b.example', 'c.example'].map(async (host) => {
        const { socket } = await looked.tunnel(host)
        return { host, socket, secure: looked.speak(socket, host) }
      }),
    )
    const shown: string[] = []
    for (const { host, secure } of opened) secure.once('secureConnect', () => shown.push(host))
    // All have said hello, and the first of them waits: a hello that came would be answered in far less.
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

  test('A guest cannot begin again in the middle, which would take the server time without a turn', async () => {
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
