import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { makeAuthority } from '../../src/egress/authority.ts'
import { nextChunk } from '../../src/egress/streams.ts'
import { patienceMs, until } from '../conformance/stand.ts'
import { listening, openStand, openWorld, type Stand, type World } from '../fixtures/egress.ts'

const secret = 'sk-live-0123456789abcdef'
let world: World
/** Connection of the last request for `/large`, as the server outside counts it. */
let large: Socket | undefined
before(async () => {
  world = await openWorld((request, response) => {
    if (request.url === '/echo-headers') return !!response.end(JSON.stringify(request.headers))
    if (request.url === '/moved')
      return !!response.writeHead(302, { Location: 'http://b.example/' }).end()
    if (request.url === '/large') {
      large = request.socket
      return !!response.end(Buffer.alloc(300_000, 'x'))
    }
    if (request.url === '/late')
      return setTimeout(() => response.end('late'), 60_000).unref() !== undefined
    return false
  })
})
after(() => world[Symbol.asyncDispose]())

/** Masked text frame, as a client sends it. */
function maskedFrame(text: string): Buffer {
  const mask = Buffer.from([1, 2, 3, 4])
  const payload = Buffer.from(text).map((byte, at) => byte ^ mask[at % 4]!)
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload])
}

/** Tunnel through the proxy, with its head read already. */
async function tunnel(stand: Stand, to: string): Promise<{ socket: Socket; head: string }> {
  const socket = connect(stand.port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`)
  const head = String(await nextChunk(socket))
  return { socket, head }
}

/** All bytes received for one request over TLS, or the error. */
async function overTls(
  socket: Socket,
  servername: string,
  ca: string,
  say: string,
): Promise<string> {
  const secure = connectTls({ socket, servername, ca, ALPNProtocols: ['http/1.1'] })
  let said = ''
  secure.on('data', (chunk: Buffer) => (said += String(chunk)))
  secure.on('error', (error) => (said += `error: ${(error as NodeJS.ErrnoException).code}`))
  secure.on('end', () => secure.end())
  secure.write(say)
  await once(secure, 'close').catch(() => undefined)
  return said
}

const asks = (path: string, host: string, more = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`

suite('Proxied traffic', () => {
  test('A request arrives rewritten: one host, no hop-by-hop headers, the query kept', async () => {
    await using stand = await openStand(world, 'open')
    const port = world.ports.http
    await stand.say(
      `GET http://a.example:${port}/p?q=%20x HTTP/1.1\r\nHost: A.example:${port}\r\nX-Own: 1\r\n` +
        'Proxy-Authorization: Basic abc\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\r\n',
    )
    const { line, headers } = world.heard.at(-1)!
    assert.equal(line, 'GET /p?q=%20x')
    assert.deepEqual(headers, { host: `a.example:${port}`, 'x-own': '1', connection: 'close' })
  })

  test('A body arrives complete, by length and in chunks', async () => {
    await using stand = await openStand(world, 'open')
    const to = `http://a.example:${world.ports.http}/`
    const head = `POST ${to} HTTP/1.1\r\nHost: a.example:${world.ports.http}\r\n`
    await stand.say(`${head}Content-Length: 5\r\n\r\nhello`)
    assert.equal(world.heard.at(-1)!.body, 'hello')
    await stand.say(`${head}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n`)
    assert.equal(world.heard.at(-1)!.body, 'hello')
    assert.equal(world.heard.at(-1)!.headers['transfer-encoding'], 'chunked')
  })

  test('S2-14: a planted secret in head, body or chunks blocks the request', async () => {
    const secret = 'planted-secret'
    await using stand = await openStand(world, 'open', {
      makeOutboundCheck() {
        let said = ''
        return (piece) => !(said += piece.toString('latin1')).includes(secret)
      },
    })
    const host = `a.example:${world.ports.http}`
    const heard = world.heard.length
    const post = (path: string) => `POST http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n`
    const chunked = 'Transfer-Encoding: chunked\r\n\r\n8\r\nplanted-\r\n6\r\nsecret\r\n0\r\n\r\n'
    for (const request of [
      `${post(`/?q=${secret}`)}Content-Length: 0\r\n\r\n`,
      `${post('/')}X-Own: ${secret}\r\nContent-Length: 0\r\n\r\n`,
      `${post('/')}Content-Length: ${secret.length}\r\n\r\n${secret}`,
      post('/') + chunked,
    ]) {
      assert.equal(await stand.say(request), '', request)
      assert.match(stand.proxy.attempts.at(-1)!.because, /planted secret/, request)
    }
    assert.equal(stand.proxy.attempts.length, 4)
    assert.equal(world.heard.length, heard)
    await stand.say(`${post('/')}Content-Length: 2\r\n\r\nhi`)
    assert.equal(world.heard.at(-1)!.body, 'hi')
  })

  test('S2-14: a planted secret in the name of a request, tunnel or look-up reaches no name server', async () => {
    const planted = '706c616e746564'
    const asked: string[] = []
    await using stand = await openStand(world, 'open', {
      makeOutboundCheck: () => (piece) => !piece.includes(planted),
      resolver(name) {
        asked.push(name)
        return Promise.resolve([])
      },
    })
    for (const name of [`${planted}.a.example`, '706c616e.746564.a.example']) {
      const request = `GET http://${name}/ HTTP/1.1\r\nHost: ${name}\r\n\r\n`
      const lookUp = asks(`http://dns.mayfly/resolve?name=${name}`, 'dns.mayfly')
      assert.match(await stand.say(request), /^HTTP\/1.1 403 .*planted secret/)
      assert.match(await stand.say(lookUp), /^HTTP\/1.1 403 .*planted secret/)
      const { head, socket } = await tunnel(stand, `${name}:443`)
      assert.match(head, /^HTTP\/1.1 403 .*planted secret/)
      socket.destroy()
    }
    assert.deepEqual(asked, [])
    await stand.say(asks('http://dns.mayfly/resolve?name=plain.example', 'dns.mayfly'))
    assert.deepEqual(asked, ['plain.example'])
  })

  test('Ambiguous chunks end the request', async () => {
    await using stand = await openStand(world, 'open')
    const head = `POST http://a.example:${world.ports.http}/ HTTP/1.1\r\nHost: a.example:${world.ports.http}\r\nTransfer-Encoding: chunked\r\n\r\n`
    const heard = world.heard.length
    for (const body of [
      '3;x=y\r\nabc\r\n0\r\n\r\n',
      '+3\r\nabc\r\n0\r\n\r\n',
      '3\nabc\r\n0\r\n\r\n',
      '3\r\nabcd\r\n0\r\n\r\n',
      '0x3\r\nabc\r\n0\r\n\r\n',
      '3\r\nabc\r\n0\r\nX: y\r\n\r\n',
    ])
      assert.equal(await stand.say(head + body), '', JSON.stringify(body))
    assert.equal(world.heard.length, heard)
    assert.ok(stand.events.some(({ point }) => point === 'egress/cut'))
  })

  test('A pipelined second request reaches no server (CONNECT and request smuggling)', async () => {
    await using stand = await openStand(world, { allow: [`http://a.example:${world.ports.http}`] })
    const one = asks(`http://a.example:${world.ports.http}/one`, `a.example:${world.ports.http}`)
    const two = asks(`http://a.example:${world.ports.http}/two`, `a.example:${world.ports.http}`)
    for (const first of [one, one.replace('Connection: close\r\n', '')]) {
      const heard = world.heard.length
      const said = await stand.say(first + two)
      assert.match(said, /^HTTP\/1.1 200 /)
      // The body of an answer ends without a line break, so a second answer begins no line.
      assert.equal(said.match(/HTTP\/1\.1 \d/g)?.length, 1)
      assert.deepEqual(
        world.heard.slice(heard).map(({ line }) => line),
        ['GET /one'],
      )
    }
    const heard = world.heard.length
    const to = `a.example:${world.ports.http}`
    for (const behind of [one, asks('/one', to)]) {
      const early = `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n${behind}`
      assert.match(await stand.say(early), /^HTTP\/1.1 400 .*data before its tunnel is open/)
    }
    assert.equal(world.heard.length, heard)
  })

  test('A redirect is a new request, decided separately', async () => {
    await using stand = await openStand(world, { allow: [`http://a.example:${world.ports.http}`] })
    const first = await stand.say(
      asks(`http://a.example:${world.ports.http}/moved`, `a.example:${world.ports.http}`),
    )
    const [, location = ''] = /^Location: (.+)\r$/m.exec(first) ?? []
    assert.match(await stand.say(asks(location, 'b.example')), /^HTTP\/1.1 403 /)
    assert.deepEqual(
      stand.proxy.attempts.map(({ host, verdict }) => [host, verdict]),
      [
        ['a.example', 'allowed'],
        ['b.example', 'denied'],
      ],
    )
  })

  test('A name is resolved once, and the checked address is the one dialled (DNS rebinding)', async () => {
    const answers = [['127.0.0.1'], ['10.0.0.1'], ['127.0.0.1']]
    let asked = 0
    await using stand = await openStand(world, 'open', {
      resolver: () => Promise.resolve(answers[asked++] ?? []),
    })
    const request = asks(`http://a.example:${world.ports.http}/`, `a.example:${world.ports.http}`)
    assert.match(await stand.say(request), /^HTTP\/1.1 200 /)
    assert.equal(asked, 1)
    assert.match(await stand.say(request), /^HTTP\/1.1 403 .*not public/)
    assert.match(await stand.say(request), /^HTTP\/1.1 200 /)
  })

  test('S4-8: the private address of a name is reported to the operator, not to the guest', async () => {
    const notPublic =
      '"db.example" is not public, which takes a rule of the operator\'s configuration'
    const more = { resolver: () => Promise.resolve(['93.184.215.14', '10.20.30.40']) }
    await using stand = await openStand(world, 'open', more)
    const said = [
      await stand.say(asks('http://db.example/', 'db.example')),
      (await tunnel(stand, 'db.example:443')).head,
      await stand.say(asks('http://dns.mayfly/resolve?name=db.example', 'dns.mayfly')),
    ]
    for (const one of said) {
      assert.match(one, /^HTTP\/1.1 403 Forbidden: "db.example" is not public/)
      assert.ok(!/10\.20|private/.test(one), one)
    }
    assert.equal(stand.proxy.attempts.length, said.length)
    assert.ok(!JSON.stringify(stand.proxy.attempts).includes('10.20'))
    assert.equal(stand.events.length, said.length)
    for (const { point, fields } of stand.events) {
      assert.deepEqual([point, fields['because']], ['egress/denied', notPublic])
      assert.match(String(fields['detail']), /is at "10\.20\.30\.40", which is a private network/)
    }
    // A literal address is known to the guest anyway.
    assert.match(await stand.say(asks('http://10.0.0.1/', '10.0.0.1')), /^HTTP\/1.1 403 .*private/)
  })

  test('S1-8: a job limited to DNS lookups gets public addresses, and reaches no host', async () => {
    const heard = world.heard.length
    const at = new Map([
      ['a.example', ['93.184.215.14', '2606:2800::1']],
      ['in.example', ['10.0.0.1']],
    ])
    const more = { resolver: (name: string) => Promise.resolve(at.get(name) ?? []) }
    await using stand = await openStand(world, { allow: ['dns://*.example'] }, more)
    const lookUp = (name: string) =>
      stand.say(asks(`http://dns.mayfly/resolve?name=${name}`, 'dns.mayfly'))
    assert.match(await lookUp('A.example'), /"addresses":\["93.184.215.14","2606:2800::1"\]/)
    assert.match(await lookUp('in.example'), /^HTTP\/1.1 403 .*not public/)
    assert.match(await lookUp('none.example'), /^HTTP\/1.1 502 .*no address/)
    assert.match(await lookUp('c2VjcmV0.tunnel.test'), /^HTTP\/1.1 403 .*no rule allows/)
    assert.match(await lookUp(''), /^HTTP\/1.1 403 /)
    const request = asks(`http://a.example:${world.ports.http}/`, `a.example:${world.ports.http}`)
    assert.match(await stand.say(request), /^HTTP\/1.1 403 /)
    assert.match((await tunnel(stand, 'a.example:53')).head, /^HTTP\/1.1 403 /)
    assert.equal(stand.proxy.attempts.length, 7)
    assert.equal(world.heard.length, heard)
  })

  test('A WebSocket passes where a rule names ws', async () => {
    await using stand = await openStand(world, { allow: [`ws://a.example:${world.ports.http}`] })
    const socket = connect(stand.port, '127.0.0.1')
    socket.write(
      `GET http://a.example:${world.ports.http}/chat HTTP/1.1\r\nHost: a.example:${world.ports.http}\r\n` +
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
    )
    assert.match(String(await nextChunk(socket)), /^HTTP\/1.1 101 /)
    assert.equal(world.heard.at(-1)!.headers['sec-websocket-extensions'], undefined)
    const frame = maskedFrame('in frames')
    for (const byte of frame) socket.write(Buffer.from([byte]))
    let echoed = Buffer.alloc(0)
    while (echoed.length < frame.length)
      echoed = Buffer.concat([echoed, (await nextChunk(socket))!])
    assert.deepEqual(echoed, frame)
    // Other content would be a tunnel, which no rule permits.
    socket.write('SSH-2.0-x\r\n')
    await Promise.all([once(socket, 'close'), nextChunk(socket)])
    assert.match(stand.proxy.attempts[0]!.because, /WebSocket cannot be read/)
    assert.match(
      await stand.say(
        asks(`http://a.example:${world.ports.http}/`, `a.example:${world.ports.http}`),
      ),
      /^HTTP\/1.1 403 /,
    )
  })

  test('Byte counts of the outcome equal those of the server (S4-21)', async () => {
    await using stand = await openStand(world, 'open')
    const request = asks(
      `http://a.example:${world.ports.http}/large`,
      `a.example:${world.ports.http}`,
    )
    await stand.say(request)
    const [attempt] = stand.proxy.attempts
    assert.deepEqual(
      [attempt!.sent, attempt!.received],
      [large!.bytesRead, large!.bytesWritten],
      'differs from the count of the server',
    )
    assert.ok(attempt!.received > 300_000)
  })
})

suite('Tunnels', () => {
  test('TLS to an allowed host stays opaque to the proxy', async () => {
    await using stand = await openStand(world, {
      allow: [`https://a.example:${world.ports.https}`],
    })
    const { socket, head } = await tunnel(stand, `a.example:${world.ports.https}`)
    assert.match(head, /^HTTP\/1.1 200 /)
    const said = await overTls(socket, 'a.example', world.authority.pem, asks('/t', 'a.example'))
    assert.match(said, /"line":"GET \/t"/)
    assert.equal(stand.proxy.attempts.length, 1)
    assert.ok(stand.proxy.attempts[0]!.sent > 300 && stand.proxy.attempts[0]!.received > 500)
  })

  const others: readonly (readonly [what: string, servername: string])[] = [
    ['another server', 'b.example'],
    ['no server at all', ''],
    ['a longer name', 'a.example.b.example'],
  ]
  for (const [what, servername] of others)
    test(`S1-8: TLS that names ${what} than its tunnel reaches no server`, async () => {
      await using stand = await openStand(world, {
        allow: [`https://a.example:${world.ports.https}`],
      })
      const heard = world.heard.length
      const { socket } = await tunnel(stand, `a.example:${world.ports.https}`)
      const said = await overTls(socket, servername, world.authority.pem, asks('/', 'b.example'))
      assert.match(said, /error: /)
      assert.equal(world.heard.length, heard)
      const [attempt] = stand.proxy.attempts
      assert.equal(attempt!.sent, 0)
      assert.match(attempt!.because, /ClientHello names/)
      assert.ok(stand.events.some(({ point }) => point === 'egress/cut'))
    })

  test('S1-8: content other than TLS in an https tunnel reaches no server', async () => {
    await using stand = await openStand(world, { allow: [`https://a.example:${world.ports.echo}`] })
    const before = world.echoed()
    for (const what of [
      'SSH-2.0-x\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      '\x00\x1dDNS',
      '\x16\x03\x01\x00',
    ]) {
      const { socket, head } = await tunnel(stand, `a.example:${world.ports.echo}`)
      assert.match(head, /^HTTP\/1.1 200 /)
      socket.end(what, 'latin1')
      let back = ''
      socket.on('data', (bytes: Buffer) => (back += bytes.toString('latin1')))
      await once(socket, 'close')
      const [type, major, , , length, level] = Buffer.from(back, 'latin1')
      const isAlert = back.length === 7 && [type, major, length, level].join() === '21,3,2,2'
      assert.ok(back === '' || isAlert, JSON.stringify([what, back]))
      assert.equal(stand.proxy.attempts.at(-1)!.sent, 0, JSON.stringify(what))
    }
    assert.equal(world.echoed(), before)
  })

  test('A tunnel for any scheme carries any content, and TLS in it must name its host', async () => {
    await using stand = await openStand(world, { allow: [`*://a.example:*`] })
    const { socket } = await tunnel(stand, `a.example:${world.ports.echo}`)
    socket.write('anything')
    assert.equal(String(await nextChunk(socket)), 'anything')
    socket.destroy()
    const second = await tunnel(stand, `a.example:${world.ports.https}`)
    assert.match(
      await overTls(second.socket, 'b.example', world.authority.pem, asks('/', 'x')),
      /error/,
    )
  })

  test('S1-8: hosts denied for https, or allowed for wss only, get no opaque tunnel', async () => {
    const to = `a.example:${world.ports.https}`
    await using denied = await openStand(world, { deny: [`https://${to}`] })
    const heard = world.heard.length
    const { socket } = await tunnel(denied, to)
    assert.match(await overTls(socket, 'a.example', world.authority.pem, asks('/', to)), /error/)
    assert.match(denied.proxy.attempts[0]!.because, /is denied/)
    assert.equal(world.heard.length, heard)
    await using sockets = await openStand(world, { allow: [`wss://${to}`] })
    assert.match((await tunnel(sockets, to)).head, /^HTTP\/1.1 403 .*TLS inspection/)
    const authority = makeAuthority(Date.now)
    await using looked = await openStand(world, { allow: [`wss://${to}`] }, { authority })
    const open = await tunnel(looked, to)
    assert.match(
      await overTls(open.socket, 'a.example', authority.pem, asks('/', to)),
      /^HTTP\/1.1 403/,
    )
  })

  test('Plain HTTP in a tunnel is inspected, and its Host must be that of the tunnel', async () => {
    await using stand = await openStand(world, {
      allow: [`GET http://a.example:${world.ports.http}/v1/*`],
    })
    const to = `a.example:${world.ports.http}`
    const through = async (say: string) => {
      const { socket } = await tunnel(stand, to)
      let said = ''
      socket.on('data', (chunk: Buffer) => (said += String(chunk)))
      socket.on('end', () => socket.end())
      socket.write(say)
      await once(socket, 'close')
      return said
    }
    assert.match(await through(asks('/v1/x', to)), /^HTTP\/1.1 200 /)
    assert.match(await through(asks('/v2/x', to)), /^HTTP\/1.1 403 /)
    assert.match(await through(asks('/v1/x', 'b.example')), /^HTTP\/1.1 400 /)
    assert.match(await through(asks('http://b.example/v1/x', 'b.example')), /^HTTP\/1.1 400 /)
    assert.equal(await through('SSH-2.0-x\r\n\r\n').then((said) => /SSH/.test(said)), false)
  })
})

suite('Inspected TLS', () => {
  const authority = makeAuthority(Date.now)
  const inTunnel = async (stand: Stand, say: string) => {
    const { socket, head } = await tunnel(stand, `a.example:${world.ports.https}`)
    if (!head.startsWith('HTTP/1.1 200')) return head
    return overTls(socket, 'a.example', authority.pem, say)
  }
  const through = (stand: Stand, path: string, host: string, more = '') =>
    inTunnel(stand, asks(path, host, more))
  const host = () => `a.example:${world.ports.https}`
  const rule = () => `GET https://a.example:${world.ports.https}/v1/*`

  test('S1-8: rules on method and path hold for https too', async () => {
    await using stand = await openStand(world, { allow: [rule()] }, { authority })
    assert.match(await through(stand, '/v1/x', host()), /^HTTP\/1.1 200 .*GET \/v1\/x/s)
    assert.match(await through(stand, '/v2', host()), /^HTTP\/1.1 403 .*another method or path/s)
    assert.match(await through(stand, '/v1/../v2', host()), /^HTTP\/1.1 403 /)
    assert.match(await through(stand, '/v1/x', 'b.example'), /^HTTP\/1.1 400 .*Host differs/s)
    const heard = world.heard.length
    for (const method of ['POST', 'DELETE', 'HEAD', 'get'])
      assert.match(
        await inTunnel(stand, asks('/v1/x', host()).replace('GET', method)),
        /^HTTP\/1.1 4\d\d /,
        method,
      )
    assert.equal(world.heard.length, heard)
    const verdicts = stand.proxy.attempts.map(({ verdict }) => verdict)
    assert.deepEqual(verdicts, ['allowed', ...verdicts.slice(1).map(() => 'denied')])
    assert.equal(verdicts.length, 8)
  })

  test('Without a CA such a rule denies https', async () => {
    await using stand = await openStand(world, { allow: [rule()] })
    assert.match(await through(stand, '/v1/x', host()), /^HTTP\/1.1 403 .*TLS inspection/s)
  })

  test('S1-8: full inspection refuses a request that names another host inside TLS', async () => {
    const asked = { allow: [`https://a.example:${world.ports.https}`] }
    await using stand = await openStand(world, asked, { authority, inspection: 'every' })
    assert.match(await through(stand, '/x', host()), /^HTTP\/1.1 200 /)
    assert.match(await through(stand, '/x', host().replace('a.', 'b.')), /^HTTP\/1.1 400 /)
  })

  test('A server with an untrusted certificate gets no request', async () => {
    await using stand = await openStand(world, { allow: [rule()] }, { authority, trust: [] })
    const heard = world.heard.length
    assert.match(await through(stand, '/v1/x', host()), /^HTTP\/1.1 502 .*cannot be trusted/s)
    assert.equal(world.heard.length, heard)
  })

  const credential = () => ({
    name: 'API_KEY',
    value: secret,
    header: 'Authorization',
    hosts: [`https://a.example:${world.ports.https}`],
  })
  const bearer = 'Authorization: Bearer mayfly-secret:API_KEY\r\n'

  test('A credential is placed only for its host and header', async () => {
    const asked = {
      allow: [`https://a.example:${world.ports.https}`, `http://a.example:${world.ports.http}`],
    }
    await using stand = await openStand(world, asked, { authority, credentials: [credential()] })
    assert.match(await through(stand, '/x', host(), bearer), /^HTTP\/1.1 200 /)
    assert.equal(world.heard.at(-1)!.headers.authorization, `Bearer ${secret}`)
    const heard = world.heard.length
    const other = await through(stand, '/x', host(), 'X-Key: mayfly-secret:API_KEY\r\n')
    assert.match(other, /^HTTP\/1.1 403 .*not for the header/s)
    const unknown = await through(stand, '/x', host(), 'Authorization: mayfly-secret:OTHER\r\n')
    assert.match(unknown, /^HTTP\/1.1 403 .*no credential "OTHER"/s)
    const plain = await stand.say(
      asks(`http://a.example:${world.ports.http}/`, `a.example:${world.ports.http}`, bearer),
    )
    assert.match(plain, /^HTTP\/1.1 403 .*not for this host/s)
    assert.equal(world.heard.length, heard)
    assert.ok(!JSON.stringify([stand.proxy.attempts, stand.events]).includes(secret))
  })

  test('An echoed credential is withheld from the guest', async () => {
    const asked = { allow: [`https://a.example:${world.ports.https}`] }
    await using stand = await openStand(world, asked, { authority, credentials: [credential()] })
    const said = await through(stand, '/echo-headers', host(), bearer)
    assert.ok(!said.includes(secret))
    assert.match(stand.proxy.attempts[0]!.because, /repeats a secret/)
  })
})

suite('Limits while running', () => {
  test('S4-8: tightening cuts exactly the live tunnels that are no longer permitted', async () => {
    const both = { allow: [`*://a.example:*`, `*://b.example:*`] }
    await using stand = await openStand(world, both)
    const a = await tunnel(stand, `a.example:${world.ports.echo}`)
    const b = await tunnel(stand, `b.example:${world.ports.echo}`)
    for (const { socket } of [a, b]) {
      socket.write('x')
      assert.equal(String(await nextChunk(socket)), 'x')
    }
    stand.setNetwork({ allow: ['*://b.example:*'] })
    const closed = once(a.socket, 'close')
    assert.equal(stand.proxy.tighten(), 1)
    await Promise.all([closed, nextChunk(a.socket)])
    b.socket.write('y')
    assert.equal(String(await nextChunk(b.socket)), 'y')
    b.socket.destroy()
    assert.match((await tunnel(stand, `a.example:${world.ports.echo}`)).head, /^HTTP\/1.1 403 /)
    assert.ok(
      stand.events.some(
        ({ point, fields }) => point === 'egress/cut' && fields['host'] === 'a.example',
      ),
    )
  })

  test('A network closed during DNS resolution permits no connection', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly string[]>()
    await using stand = await openStand(world, 'open', { resolver: () => promise })
    const connections = world.heard.length
    const said = stand.say(
      asks(`http://a.example:${world.ports.http}/`, `a.example:${world.ports.http}`),
    )
    await sleep(20)
    stand.setNetwork('none')
    resolve(['127.0.0.1'])
    assert.match(await said, /^HTTP\/1.1 403 /)
    assert.equal(world.heard.length, connections)
  })

  test('S0-22: the send budget is never exceeded', async () => {
    const budget = { sentMax: 10_000, receivedMax: 2 ** 30 }
    const before = world.echoed()
    await using stand = await openStand(world, 'open', { budget })
    const { socket } = await tunnel(stand, `a.example:${world.ports.echo}`)
    let back = 0
    socket.on('data', (chunk: Buffer) => (back += chunk.length))
    // A write may meet the closed end.
    socket.on('error', () => undefined)
    const closed = new Promise((resolve) => void socket.once('close', resolve))
    for (let sent = 0; sent < 50_000 && !socket.destroyed; sent += 1_000) {
      socket.write(Buffer.alloc(1_000))
      await sleep(1)
    }
    await closed
    const arrived = world.echoed() - before
    assert.ok(
      Math.max(arrived, back, stand.proxy.attempts[0]!.sent) <= 10_000,
      `${arrived} ${back}`,
    )
    assert.ok(arrived > 0)
    assert.match(stand.proxy.attempts[0]!.because, /send are used up/)
    assert.match(
      await stand.say(
        asks(
          `http://a.example:${world.ports.http}/${'x'.repeat(2_000)}`,
          `a.example:${world.ports.http}`,
        ),
      ),
      /^$/,
    )
    assert.match(stand.proxy.attempts.at(-1)!.because, /send are used up/)
    assert.equal(stand.proxy.attempts.length, 2)
  })

  test('S0-22: the receive budget cuts longer answers', async () => {
    const budget = { sentMax: 2 ** 30, receivedMax: 100_000 }
    await using stand = await openStand(world, 'open', { budget })
    const said = await stand.say(
      asks(`http://a.example:${world.ports.http}/large`, `a.example:${world.ports.http}`),
    )
    assert.match(said, /^HTTP\/1.1 200 /)
    assert.ok(said.length <= 100_000, `${said.length}`)
    assert.match(stand.proxy.attempts[0]!.because, /receive are used up/)
  })

  test('Concurrent connections are limited: six of eight wait for two places, and the ninth is refused', async () => {
    await using stand = await openStand(world, 'open', { connectionsMax: 2 })
    const open = await Promise.all([1, 2].map(() => tunnel(stand, `a.example:${world.ports.echo}`)))
    const own = asks(`http://a.example:${world.ports.http}/w`, `a.example:${world.ports.http}`)
    const waiting = Array.from({ length: 6 }, () => stand.say(own))
    // Accepted in their order.
    assert.match(await stand.say('CONNECT a.example:1 HTTP/1.1\r\n\r\n'), /^HTTP\/1.1 503 /)
    assert.equal(stand.proxy.attempts.length, 2)
    for (const { socket } of open) socket.destroy()
    for (const said of await Promise.all(waiting)) assert.match(said, /^HTTP\/1.1 200 /)
  })

  test('Connections that wait for a place are closed with the proxy', async () => {
    const stand = await openStand(world, 'open', { connectionsMax: 1 })
    const { socket } = await tunnel(stand, `a.example:${world.ports.echo}`)
    socket.on('error', () => undefined)
    const waiting = [1, 2].map(() => stand.say('CONNECT a.example:1 HTTP/1.1\r\n\r\n'))
    await sleep(50)
    await stand.proxy.close()
    assert.deepEqual(await Promise.all(waiting), ['', ''])
    assert.equal(stand.proxy.attempts.length, 1)
  })

  test('A guest whose server is silent for too long gets 504 with the reason, and so does the record', async () => {
    const authority = makeAuthority(Date.now)
    const times = { idleMsMax: 1500 }
    const more = { times, authority, inspection: 'every' } as const
    await using stand = await openStand(world, 'open', more)
    const said = await stand.say(
      asks(`http://a.example:${world.ports.http}/late`, `a.example:${world.ports.http}`),
    )
    assert.match(said, /^HTTP\/1.1 504 Gateway Timeout: it was idle for too long: .* 1\.5 s\r\n/)
    assert.match(said, /"code":"EGRESS_FAILED"/)
    const { socket } = await tunnel(stand, `a.example:${world.ports.https}`)
    const secure = connectTls({ socket, servername: 'a.example', ca: authority.pem })
    secure.write(asks('/late', `a.example:${world.ports.https}`))
    assert.match(String(await nextChunk(secure)), /^HTTP\/1.1 504 .*idle for too long/)
    secure.destroy()
    const attempts = stand.proxy.attempts.filter(({ because }) => /idle for too long/.test(because))
    assert.deepEqual(
      attempts.map(({ verdict, port }) => [verdict, port]),
      [world.ports.http, world.ports.https].map((port) => ['allowed', port]),
    )
    const cuts = stand.events.filter(({ point }) => point === 'egress/cut')
    assert.equal(cuts.length, 2)
  })

  test('An answer that has begun is not completed by a reason: its connection is reset', async (t) => {
    const begun = createServer((socket) => {
      const head = 'HTTP/1.1 200 OK\r\n\r\nbegun'
      socket.on('error', () => undefined).once('data', () => socket.resume().write(head))
    })
    const port = await listening(begun)
    t.after(() => begun.close())
    const times = { idleMsMax: 200 }
    await using stand = await openStand(world, 'open', {
      times,
      exceptions: [`127.0.0.1:${port}`],
    })
    const said = await stand.say(asks(`http://a.example:${port}/`, `a.example:${port}`))
    assert.ok(!said.includes('504'), said)
    assert.match(stand.proxy.attempts[0]!.because, /idle for too long/)
  })

  test('A silent guest, or one that sends half a request, times out', async () => {
    const times = { headMsMax: 50, idleMsMax: 50, lifeMsMax: 10_000 }
    await using stand = await openStand(world, 'open', { times })
    assert.equal(await stand.say(''), '')
    assert.equal(await stand.say('GET http://a.example/ HTTP/1.1\r\n'), '')
    const { socket } = await tunnel(stand, `a.example:${world.ports.echo}`)
    await Promise.all([once(socket, 'close'), nextChunk(socket)])
    assert.match(stand.proxy.attempts.at(-1)!.because, /idle for too long/)
  })

  test('A guest that keeps its side open after its answer is disconnected', async () => {
    const authority = makeAuthority(Date.now)
    // Long enough for a handshake on a busy machine.
    const times = { idleMsMax: 2000 }
    const more = { times, authority, inspection: 'every', connectionsMax: 1 } as const
    await using stand = await openStand(world, 'open', more)
    for (let turn = 0; turn < 2; turn++) {
      let open = await tunnel(stand, `a.example:${world.ports.https}`)
      const end = performance.now() + patienceMs
      while (performance.now() < end && !open.head.startsWith('HTTP/1.1 200')) {
        await sleep(20)
        open = await tunnel(stand, `a.example:${world.ports.https}`)
      }
      assert.match(open.head, /^HTTP\/1.1 200 /)
      const { socket } = open
      const secure = connectTls({ socket, servername: 'a.example', ca: authority.pem })
      secure.on('error', () => undefined)
      secure.write(asks(`/open${turn}`, `a.example:${world.ports.https}`))
      // Without reading, the guest never sees the end.
      const isHeard = () => world.heard.at(-1)?.line === `GET /open${turn}`
      await until(isHeard, 'the request')
    }
    assert.deepEqual(
      stand.events.flatMap(({ point }) => (point.startsWith('egress/') ? [point] : [])),
      ['egress/allowed', 'egress/allowed'],
    )
  })

  test('Closing cuts all open connections and is idempotent', async () => {
    const stand = await openStand(world, 'open')
    const { socket } = await tunnel(stand, `a.example:${world.ports.echo}`)
    const closed = once(socket, 'close')
    await Promise.all([stand.proxy.close(), stand.proxy.close(), closed, nextChunk(socket)])
    assert.equal(stand.proxy.attempts.length, 1)
    const again = connect(stand.port, '127.0.0.1')
    await assert.rejects(once(again, 'connect'))
  })
})
