import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as askFor } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProxyOptions } from '../../src/egress/proxy.ts'
import { FrameReader, frameOf } from '../../src/egress/web-socket-frames.ts'
import { nextChunk } from '../../src/egress/streams.ts'
import { listening, openStand, openWorld, type Stand } from '../fixtures/egress.ts'

const secret = 'sk-live-0123456789abcdef'
const header = `Authorization: mayfly-secret:api\r\n`
const ok = 'HTTP/1.1 200 OK\r\n'
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`
const switched =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'

/** Server that answers by `answer` after each head, and an egress path to it with or without a credential. */
async function openServer(
  answer: (socket: Socket) => void | Promise<void>,
  more: Partial<ProxyOptions> & { readonly isBare?: boolean } = {},
) {
  const { isBare = false, ...options } = more
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined))
    socket.once('data', () => void answer(socket))
  })
  const port = await listening(server)
  const world = await openWorld()
  const at = `http://a.example:${port}`
  const credential = { name: 'api', value: secret, header: 'authorization', hosts: [at] }
  const stand = await openStand(
    world,
    { allow: [at, `ws://a.example:${port}`] },
    {
      exceptions: [`127.0.0.1:${port}`],
      ...(!isBare && { credentials: [credential] }),
      ...options,
    },
  )
  const head = (rest: string, minor = 1) =>
    `GET ${at}/ HTTP/1.${minor}\r\nHost: a.example:${port}\r\n${rest}\r\n`
  return {
    stand,
    at,
    head,
    async [Symbol.asyncDispose]() {
      await stand[Symbol.asyncDispose]()
      await world[Symbol.asyncDispose]()
      for (const socket of sockets) socket.destroy()
      await new Promise((done) => server.close(done))
    },
  }
}

/** Sends a body in chunks of one size, each in its own write. */
async function sayChunks(socket: Socket, text: string, size: number): Promise<void> {
  socket.write(chunked)
  for (let at = 0; at < text.length; at += size) {
    const piece = text.slice(at, at + size)
    socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`)
    await sleep(1)
  }
  socket.end('0\r\n\r\n')
}

/** Response as Node's own client reads it through the proxy. */
async function readBy(stand: Stand, url: string): Promise<{ body: string; isWhole: boolean }> {
  const asking = askFor({ host: '127.0.0.1', port: stand.port, path: url, agent: false })
  asking.setHeader('Host', new URL(url).host).end()
  const [answer] = await once(asking, 'response')
  let body = ''
  answer.on('data', (chunk: Buffer) => (body += String(chunk))).on('error', () => undefined)
  await new Promise((done) => answer.once('close', done))
  return { body, isWhole: answer.complete }
}

suite('An answer that echoes a credential', () => {
  const encoded = Buffer.from(secret).toString('base64')
  for (const size of [1, 5, 23])
    for (const [what, repeated] of [
      ['as plain text', secret],
      ['in base64', encoded],
    ] as const)
      test(`S4-8: is withheld ${what}, in chunks of ${size} bytes, from its first byte`, async () => {
        await using server = await openServer((socket) =>
          sayChunks(socket, `auth=${repeated} and more`, size),
        )
        const said = await server.stand.say(server.head(header))
        const body = said.slice(said.indexOf('\r\n\r\n') + 4)
        const text = body.replace(/[0-9a-f]+\r\n(.*)\r\n/g, '$1')
        assert.ok('auth='.startsWith(text), body)
        assert.match(server.stand.proxy.attempts[0]!.because, /repeats a secret/)
      })

  test('S4-8: is withheld if the credential arrives in separate pieces', async () => {
    await using server = await openServer(async (socket) => {
      socket.write(`${ok}Content-Length: 100\r\n\r\nauth\n${secret.slice(0, -1)}`)
      await sleep(50)
      socket.write(`${secret.slice(-1)} and more`)
    })
    const said = await server.stand.say(server.head(header))
    assert.ok(said.endsWith('\r\n\r\nauth\n'), said)
  })

  test('S4-8: is withheld behind a content coding that hides it', async () => {
    await using server = await openServer(
      (socket) => void socket.end(`${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`),
    )
    assert.match(await server.stand.say(server.head(header)), /^HTTP\/1.1 502 .*coded/)
  })

  for (const coding of ['gzip', 'identity, BR'])
    test(`S4-8: is withheld by the content coding "${coding}", for which nothing asked`, async () => {
      await using server = await openServer((socket) => {
        socket.write(`${ok}Content-Encoding: ${coding}\r\nContent-Length: 4\r\n\r\nbody`)
      })
      const said = await server.stand.say(server.head(`${header}Accept-Encoding: ${coding}\r\n`))
      assert.ok(/^HTTP\/1.1 502 .*encoded/.test(said) && !said.includes('body'), said)
    })

  for (const [what, line, body] of [
    ['in the coding "identity"', '200 OK\r\nContent-Encoding: Identity', 'body'],
    ['without a body', '304 Not Modified\r\nContent-Encoding: gzip', ''],
  ] as const)
    test(`An answer ${what} of a host with a credential is relayed`, async () => {
      await using server = await openServer((socket) => {
        socket.write(`HTTP/1.1 ${line}\r\nContent-Length: 4\r\n\r\n${body}`)
      })
      const said = await server.stand.say(server.head(header))
      assert.ok(said.startsWith(`HTTP/1.1 ${line}`) && said.endsWith(`\r\n\r\n${body}`), said)
    })

  test('S4-8: is withheld on a WebSocket, however frames split it', async () => {
    await using server = await openServer(async (socket) => {
      socket.write(switched)
      socket.write(frameOf(1, false, Buffer.from(`auth\n${secret.slice(0, 10)}`)))
      socket.write(frameOf(9, true, Buffer.from('ping')))
      await sleep(20)
      socket.write(frameOf(0, true, Buffer.from(secret.slice(10))))
    })
    const said = await server.stand.say(
      server.head(`${header}Connection: Upgrade\r\nUpgrade: websocket\r\n`),
    )
    const rest = Buffer.from(said.slice(said.indexOf('\r\n\r\n') + 4), 'latin1')
    const parts = new FrameReader('server').push(rest)
    assert.deepEqual(
      parts.map(({ opcode, payload }) => [opcode, String(payload)]),
      [
        [1, 'auth\n'],
        [9, 'ping'],
      ],
    )
    assert.match(server.stand.proxy.attempts[0]!.because, /repeats a secret/)
  })

  test('S4-8: is withheld in the reason of a WebSocket close frame', async () => {
    const why = Buffer.concat([Buffer.from([3, 232]), Buffer.from(secret)])
    await using server = await openServer(
      (socket) => void socket.write(Buffer.concat([Buffer.from(switched), frameOf(8, true, why)])),
    )
    const said = await server.stand.say(
      server.head(`${header}Connection: Upgrade\r\nUpgrade: websocket\r\n`),
    )
    assert.ok(said.startsWith('HTTP/1.1 101 ') && !said.includes('sk-live'), said)
  })
})

/** Bytes of a body that pass at once, and those once its server has paused after `text`. */
async function passedBeforePause(text: string): Promise<readonly number[]> {
  const next = Promise.withResolvers<void>()
  await using server = await openServer(async (socket) => {
    socket.write(`${ok}Content-Length: 1000\r\n\r\n${text}`)
    await next.promise
    socket.end('#'.repeat(1000 - text.length))
  })
  const socket = connect(server.stand.port, '127.0.0.1')
  socket.write(server.head(header))
  let said = ''
  const passed = () => (said.includes('\r\n\r\n') ? said.split('\r\n\r\n')[1]!.length : 0)
  const seen: number[] = []
  for (let chunk; passed() < text.length && (chunk = await nextChunk(socket));) {
    said += String(chunk)
    if (passed() > 0) seen.push(passed())
  }
  next.resolve()
  while (await nextChunk(socket));
  return [seen[0]!, seen.at(-1)!]
}

suite('A scanned answer', () => {
  test('Attack: where an answer is split confirms no guess at a credential that its host echoes', async () => {
    const filler = '#'.repeat(100)
    for (const guess of ['s', 'sk-l']) {
      const passed = await passedBeforePause(filler + guess)
      assert.deepEqual(passed, await passedBeforePause(filler + '?'.repeat(guess.length)))
      assert.ok(passed[0]! < passed[1]!)
      assert.equal(passed[1], filler.length + guess.length, 'all of it, in the pause')
    }
  })

  test('An answer that pauses within a line arrives up to the pause', async () => {
    const next = Promise.withResolvers<void>()
    await using server = await openServer(async (socket) => {
      socket.write(`${chunked}9\r\nPassword:\r\n`)
      await next.promise
      socket.end('0\r\n\r\n')
    })
    const socket = connect(server.stand.port, '127.0.0.1')
    socket.write(server.head(header))
    let said = ''
    while (!said.includes('Password:')) said += String(await nextChunk(socket))
    next.resolve()
    while (await nextChunk(socket));
  })

  for (const isBare of [true, false]) {
    const where = isBare ? 'of any host' : 'of a host with a credential'
    test(`Chunks with extensions and trailers ${where} arrive as one body`, async () => {
      await using server = await openServer(
        (socket) =>
          void socket.end(
            `${ok}Transfer-Encoding: chunked\r\nContent-Length: 3\r\nTrailer: X-Sum\r\n\r\n` +
              '3;x="y"\r\nsk-\r\n2 \r\nli\r\n0\r\nX-Sum: 1\r\n\r\n',
          ),
        { isBare },
      )
      assert.deepEqual(await readBy(server.stand, server.at), { body: 'sk-li', isWhole: true })
      const said = await server.stand.say(server.head(''))
      assert.ok(!/content-length|trailer|x-sum/i.test(said), said)
    })

    test(`An HTTP/1.0 guest gets the payload of chunks ${where}`, async () => {
      await using server = await openServer((socket) => sayChunks(socket, 'in pieces', 2), {
        isBare,
      })
      const said = await server.stand.say(server.head('', 0))
      assert.ok(said.endsWith('\r\n\r\nin pieces') && !/transfer-encoding/i.test(said), said)
    })

    test(`A truncated answer ${where} stays truncated`, async () => {
      await using server = await openServer((socket) => void socket.end(`${chunked}5\r\nhel`), {
        isBare,
      })
      assert.equal((await readBy(server.stand, server.at)).isWhole, false)
    })

    test(`An answer ${where} that ends with its connection arrives completely`, async () => {
      await using server = await openServer((socket) => void socket.end(`${ok}\r\nends in s`), {
        isBare,
      })
      assert.deepEqual(await readBy(server.stand, server.at), { body: 'ends in s', isWhole: true })
    })
  }

  test('Streamed answers are relayed without buffering', async () => {
    const next = Promise.withResolvers<void>()
    await using server = await openServer(async (socket) => {
      socket.write(`${chunked}e\r\ndata: sk-liv\n\n\r\n`)
      await next.promise
      socket.end('0\r\n\r\n')
    })
    const socket = connect(server.stand.port, '127.0.0.1')
    socket.write(server.head(header))
    let said = ''
    while (!said.includes('data: sk-liv\n\n')) said += String(await nextChunk(socket))
    next.resolve()
    while (!said.endsWith('0\r\n\r\n')) said += String(await nextChunk(socket))
    socket.destroy()
  })

  test('WebSocket messages are relayed at their end, even if they end with the start of a secret', async () => {
    const messages = ['ends in s', 'sk-live-', 'x'.repeat(70_000), '']
    await using server = await openServer((socket) => {
      socket.write(switched)
      for (const message of messages) socket.write(frameOf(1, true, Buffer.from(message)))
    })
    const socket = connect(server.stand.port, '127.0.0.1')
    socket.write(server.head(`${header}Connection: Upgrade\r\nUpgrade: websocket\r\n`))
    let said = Buffer.alloc(0)
    const head = () => said.indexOf('\r\n\r\n') + 4
    const read: string[] = []
    while (read.length < messages.length) {
      said = Buffer.concat([said, (await nextChunk(socket))!])
      read.length = 0
      let open = ''
      for (const { payload, isFinal, isLast } of new FrameReader('server').push(
        said.subarray(head()),
      )) {
        open += String(payload)
        if (isFinal && isLast) open = (read.push(open), '')
      }
    }
    assert.deepEqual(read, messages)
    socket.destroy()
  })
})

/** Server that honours range requests and echoes the credential. */
async function openParts() {
  return openWorld((request, response) => {
    const text = `auth=${request.headers.authorization ?? secret}`
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(String(request.headers.range)) ?? []
    if (from === undefined) return !!response.end(text)
    response.writeHead(206, { 'Content-Range': `bytes ${from}-${to}/${text.length}` })
    return !!response.end(text.slice(Number(from), Number(to) + 1))
  })
}

suite("A partial answer from a credential's host", () => {
  for (const names of [
    ['Range', 'If-Range'],
    ['Request-Range', 'If_Range'],
  ])
    test(`is never requested by ${names.join(' and ')}`, async () => {
      await using world = await openParts()
      const at = `http://a.example:${world.ports.http}`
      const credential = { name: 'api', value: secret, header: 'authorization', hosts: [at] }
      const more = { credentials: [credential] }
      await using stand = await openStand(world, { allow: [at] }, more)
      const parts = names.map((name) => `${name}: bytes=0-15\r\n`).join('')
      const text = `GET ${at}/ HTTP/1.1\r\nHost: a.example:${world.ports.http}\r\n${header}${parts}\r\n`
      const said = await stand.say(text)
      assert.ok(!said.includes(secret.slice(0, 8)), said)
      assert.match(stand.proxy.attempts[0]!.because, /repeats a secret/)
      const { range, 'request-range': other } = world.heard[0]!.headers
      assert.deepEqual(
        [range, other, world.heard[0]!.headers['if-range']],
        [undefined, undefined, undefined],
      )
      assert.equal(world.heard[0]!.headers['if_range'], undefined)
    })

  test('is requested and relayed for other hosts', async () => {
    await using world = await openParts()
    await using stand = await openStand(world, 'open')
    const at = `a.example:${world.ports.http}`
    const said = await stand.say(
      `GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\nRange: bytes=5-8\r\n\r\n`,
    )
    assert.match(said, /^HTTP\/1.1 206 /)
    assert.ok(said.includes(secret.slice(0, 4)) && !said.includes(secret), said)
  })
})

test('Attack: a tunnel for any content does not bypass the credential of a host for plain HTTP', async () => {
  await using world = await openWorld((request, response) => {
    if (request.url === '/own')
      return !!response.end(String(request.headers.authorization === secret))
    return !!response.end(`kept earlier: ${secret}`)
  })
  const at = `a.example:${world.ports.http}`
  const credential = {
    name: 'api',
    value: secret,
    header: 'authorization',
    hosts: [`http://${at}`],
  }
  const more = { credentials: [credential] }
  await using stand = await openStand(world, { allow: [`*://${at}`] }, more)
  const saidTo = async (path: string) => {
    const socket = connect(stand.port, '127.0.0.1').on('error', () => undefined)
    socket.write(`CONNECT ${at} HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
    assert.match(String(await nextChunk(socket)), /^HTTP\/1.1 200 /)
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${at}\r\n${header}Connection: close\r\n\r\n`)
    let said = ''
    for (let chunk; (chunk = await nextChunk(socket));) said += String(chunk)
    return said
  }
  assert.match(await saidTo('/own'), /true/)
  assert.ok(!(await saidTo('/kept')).includes(secret))
  assert.match(stand.proxy.attempts.at(-1)!.because, /repeats a secret/)
})

test('S2-14: a planted secret is blocked behind WebSocket masks', async () => {
  const planted = 'planted-secret'
  let heard = 0
  const closed = Promise.withResolvers<unknown>()
  await using server = await openServer(
    (socket) => {
      socket.once('close', closed.resolve)
      socket.write(switched)
      socket.on('data', (chunk: Buffer) => {
        heard += chunk.length
        socket.write(frameOf(1, true, Buffer.from('heard')))
      })
    },
    {
      makeOutboundCheck() {
        let said = ''
        return (piece) => !(said += piece.toString('latin1')).includes(planted)
      },
    },
  )
  const mask = Buffer.from([9, 8, 7, 6])
  const masked = (text: string) => {
    const payload = Buffer.from(text).map((byte, at) => byte ^ mask[at % 4]!)
    return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload])
  }
  const socket = connect(server.stand.port, '127.0.0.1').on('error', () => undefined)
  socket.write(server.head('Connection: Upgrade\r\nUpgrade: websocket\r\n'))
  assert.match(String(await nextChunk(socket)), /^HTTP\/1.1 101 /)
  socket.write(masked('plain'))
  assert.match(String(await nextChunk(socket)), /heard$/)
  const plain = heard
  assert.ok(plain > 0)
  socket.write(masked(planted))
  while (await nextChunk(socket));
  await closed.promise
  assert.equal(heard, plain)
  assert.match(server.stand.proxy.attempts[0]!.because, /planted secret/)
})
