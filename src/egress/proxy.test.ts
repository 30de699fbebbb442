import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, Server, Socket, type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { networkOf, type NetworkInput } from '../contract/network.ts'
import { Ledger } from './ledger.ts'
import { openProxy } from './proxy.ts'

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length

test('A connection without a caller on a shared listener leaves no timer', async () => {
  const listener = new Server()
  const budget = { sentMax: 100, receivedMax: 100 }
  const emitter = { emit: () => undefined }
  const ledger = new Ledger(budget, { emitter, run: null })
  openProxy({ listener, isShared: true, network: () => networkOf('open'), ledger })
  const before = timers()
  // Unconnected, as that of a client which reset its connection at once.
  const sockets = Array.from({ length: 10 }, () => new Socket())
  const signal = AbortSignal.timeout(10_000)
  const closed = sockets.map((socket) => once(socket, 'close', { signal }))
  for (const socket of sockets) listener.emit('connection', socket)
  await Promise.all(closed)
  assert.equal(timers(), before)
})

test('On a shared listener each connection is asked about at once, and one without a caller takes no place', async (t) => {
  const listener = new Server()
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  const own = (listener.address() as AddressInfo).port
  const budget = { sentMax: 10_000, receivedMax: 10_000 }
  const ledger = new Ledger(budget, { emitter: { emit: () => undefined }, run: null })
  // Ports of the wall: each is forgotten once it was asked about, as by a keeper.
  const known = new Set<number>()
  const callers = async ({ local }: { readonly local: number }) => (known.delete(local) ? [1] : [])
  const terms = { network: () => networkOf('none'), ledger, callers }
  await using _proxy = openProxy({ listener, ...terms, isShared: true, connectionsMax: 1 })
  const signal = AbortSignal.timeout(10_000)
  const connected = async (isOfWall: boolean) => {
    const socket = new Socket({ allowHalfOpen: true }).on('error', () => undefined)
    t.after(() => socket.destroy())
    const accepted = once(listener, 'connection', { signal })
    // Before the proxy accepts it, as a keeper knows a port before it passes the connection on.
    listener.prependOnceListener('connection', ({ remotePort }: Socket) => {
      if (isOfWall) known.add(remotePort!)
    })
    socket.connect(own, '127.0.0.1')
    await Promise.all([once(socket, 'connect', { signal }), accepted])
    return socket
  }
  const head = 'GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n'
  const answerOf = async (socket: Socket) =>
    String(((await once(socket, 'data', { signal })) as [Buffer])[0])
  const held = await connected(true)
  for (let stranger = 0; stranger < 4; stranger++) {
    const socket = await connected(false)
    await once(socket.resume(), 'end', { signal })
    socket.destroy()
  }
  const waiting = [await connected(true), await connected(true), await connected(true)]
  const refused = await connected(true)
  assert.match(await answerOf(refused), /^HTTP\/1.1 503 /)
  await connected(true)
  assert.deepEqual([...known], [])
  for (const socket of [held, ...waiting]) {
    socket.write(head)
    assert.match(await answerOf(socket), /^HTTP\/1.1 403 /)
    socket.destroy()
  }
})

test('A server may think for nine minutes before its answer', async (t) => {
  const { asked, port } = await thinkingServer(t)
  const listener = new Server()
  const own = await portOf(t, listener)
  const budget = { sentMax: 10_000, receivedMax: 10_000 }
  const ledger = new Ledger(budget, { emitter: { emit: () => undefined }, run: null })
  const exceptions = [`127.0.0.1:${port}`]
  await using _proxy = openProxy({ listener, network: () => networkOf('open'), ledger, exceptions })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const at = `127.0.0.1:${port}`
  const guest = connect(own, '127.0.0.1')
  guest.write(`GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
  const server = await asked
  for (let minute = 0; minute < 9; minute++) t.mock.timers.tick(60_000)
  assert.doesNotMatch(ledger.attempts[0]!.because, /idle/)
  server.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  const [answer] = (await once(guest, 'data')) as [Buffer]
  assert.match(String(answer), /^HTTP\/1.1 200 /)
  guest.destroy()
})

test('A host that takes longer to connect to than a client has for its head is reached all the same', async (t) => {
  const port = await portOf(
    t,
    new Server((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    }),
  )
  const at = `a.example:${port}`
  const asTunnel: NetworkInput = { allow: [`*://${at}`] }
  const isReached = async (network: NetworkInput, head: string) => {
    const listener = new Server()
    const own = await portOf(t, listener)
    const budget = { sentMax: 10_000, receivedMax: 10_000 }
    const ledger = new Ledger(budget, { emitter: { emit: () => undefined }, run: null })
    const resolver = () => sleep(3_500, ['127.0.0.1'])
    const exceptions = [`127.0.0.1:${port}`]
    const terms = { network: () => networkOf(network), ledger, exceptions, resolver }
    await using _proxy = openProxy({ listener, ...terms, times: { headMsMax: 3_000 } })
    const guest = connect(own, '127.0.0.1')
    guest.write(head)
    const signal = AbortSignal.timeout(10_000)
    const [answer] = (await once(guest, 'data', { signal })) as [Buffer]
    assert.match(String(answer), /^HTTP\/1.1 200 /)
    guest.destroy()
  }
  await Promise.all([
    isReached('open', `GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\n\r\n`),
    isReached(asTunnel, `CONNECT ${at} HTTP/1.1\r\nHost: ${at}\r\n\r\n`),
  ])
})

test('A flood of connections to a shared listener has few lookups at once, and each is served in the end', async (t) => {
  const listener = new Server()
  const own = await portOf(t, listener)
  const budget = { sentMax: 10_000, receivedMax: 10_000 }
  const ledger = new Ledger(budget, { emitter: { emit: () => undefined }, run: null })
  const asked: PromiseWithResolvers<readonly number[]>[] = []
  const callers = () => {
    const one = Promise.withResolvers<readonly number[]>()
    asked.push(one)
    return one.promise
  }
  const terms = { network: () => networkOf('none'), ledger, callers }
  await using _proxy = openProxy({ listener, ...terms, isShared: true })
  let accepted = 0
  listener.on('connection', () => void accepted++)
  const signal = AbortSignal.timeout(10_000)
  const guests = Array.from({ length: 40 }, () => {
    const guest = connect(own, '127.0.0.1').on('error', () => undefined)
    t.after(() => guest.destroy())
    guest.write('GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n')
    return once(guest, 'data', { signal })
  })
  while (accepted < guests.length) await once(listener, 'connection', { signal })
  assert.equal(asked.length, 16)
  for (let n = 0; n < guests.length; n++) {
    while (!asked[n]) await turn(undefined, { signal })
    asked[n]!.resolve([1])
  }
  const answers = (await Promise.all(guests)) as [Buffer][]
  for (const [answer] of answers) assert.match(String(answer), /^HTTP\/1.1 403 /)
  assert.equal(asked.length, guests.length)
})

test('An answer that pauses keeps its place, though another connection waits', async (t) => {
  const { asked, port } = await thinkingServer(t)
  const listener = new Server()
  const own = await portOf(t, listener)
  const budget = { sentMax: 10_000, receivedMax: 10_000 }
  const ledger = new Ledger(budget, { emitter: { emit: () => undefined }, run: null })
  const at = `127.0.0.1:${port}`
  const terms = { network: () => networkOf('open'), ledger, exceptions: [at] }
  const spareMs = 60_000
  await using _proxy = openProxy({ listener, ...terms, times: { spareMs }, connectionsMax: 1 })
  // A timer of an earlier test that still runs would not be cleared by the played clock.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const signal = AbortSignal.timeout(10_000)
  const guest = connect(own, '127.0.0.1')
  t.after(() => guest.destroy())
  let text = ''
  guest.on('data', (bytes) => void (text += String(bytes)))
  guest.write(`GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
  const stream = await asked
  stream.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
  stream.write(`1388\r\n${'z'.repeat(5000)}\r\n`)
  while (text.split('z').length <= 5000) await once(guest, 'data', { signal })
  const accepted = once(listener, 'connection', { signal })
  const other = connect(own, '127.0.0.1').on('error', () => undefined)
  t.after(() => other.destroy())
  await accepted
  const closed = once(guest, 'close', { signal })
  t.mock.timers.tick(spareMs)
  stream.end('4\r\nlast\r\n0\r\n\r\n')
  await closed
  assert.match(text, /last/)
  assert.doesNotMatch(ledger.attempts[0]!.because, /needed its place/)
})

test('A tunnel that is idle since its answer leaves its place to a connection that waits, and one that awaits an answer keeps it', async (t) => {
  const polled = Promise.withResolvers<Socket>()
  const server = new Server((socket) => {
    socket.on('error', () => undefined)
    // A server of TLS sends tickets after a request too, before its answer.
    const answers = new Map([
      ['ask', 'a'.repeat(5000)],
      ['poll', 'ticket'],
    ])
    socket.on('data', (bytes) => {
      const asked = String(bytes)
      if (asked === 'poll') polled.resolve(socket)
      socket.write(answers.get(asked) ?? asked)
    })
  })
  const port = await portOf(t, server)
  const listener = new Server()
  const own = await portOf(t, listener)
  const budget = { sentMax: 10_000, receivedMax: 10_000 }
  const ledger = new Ledger(budget, { emitter: { emit: () => undefined }, run: null })
  const at = `a.example:${port}`
  const network = () => networkOf({ allow: [`*://${at}`] })
  const resolver = async () => ['127.0.0.1']
  const terms = { network, ledger, resolver, exceptions: [`127.0.0.1:${port}`] }
  const times = { spareMs: 50 }
  await using _proxy = openProxy({ listener, ...terms, times, connectionsMax: 2 })
  const signal = AbortSignal.timeout(10_000)
  const next = async (socket: Socket) =>
    String(((await once(socket, 'data', { signal })) as [Buffer])[0])
  const tunnel = async () => {
    const guest = connect(own, '127.0.0.1').on('error', () => undefined)
    t.after(() => guest.destroy())
    guest.write(`CONNECT ${at} HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
    assert.match(await next(guest), /^HTTP\/1.1 200 /)
    return guest
  }
  const [polling, idle] = [await tunnel(), await tunnel()]
  polling.write('poll')
  const poll = await polled.promise
  assert.equal(await next(polling), 'ticket')
  idle.write('ask')
  assert.match(await next(idle), /^a+$/)
  const closed = once(idle.resume(), 'close', { signal })
  const third = await tunnel()
  await closed
  third.write('more')
  assert.equal(await next(third), 'more')
  poll.write('news')
  assert.equal(await next(polling), 'news')
  const because = ledger.attempts.map((attempt) => attempt.because)
  assert.deepEqual(
    because.map((text) => /needed its place/.test(text)),
    [false, true, false],
  )
})

/** Port of a server that answers nothing by itself, and its connection once that has asked. */
async function thinkingServer(t: TestContext) {
  const asked = Promise.withResolvers<Socket>()
  const server = new Server((socket) => {
    socket.on('error', () => undefined).once('data', () => asked.resolve(socket.resume()))
  })
  return { asked: asked.promise, port: await portOf(t, server) }
}

/** Port of a server that listens until the test ends. */
async function portOf(t: TestContext, server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}
