import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { allControls } from '../../src/contract/controls.ts'
import { networkOf, type NetworkInput } from '../../src/contract/network.ts'
import { TrafficAccounts } from '../../src/egress/traffic-account.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { nextChunk } from '../../src/egress/streams.ts'
import { openEgress } from '../../src/egress/open-egress.ts'
import { listening, openWorld } from '../fixtures/egress.ts'

const sentMax = 32 * 1024
const many = 64

/** Server that counts received bytes and never answers; reading starts when `isReading` is set. */
async function openSink() {
  const sockets = new Set<Socket>()
  let arrived = 0
  let isReading = true
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined))
    socket.on('data', (chunk: Buffer) => (arrived += chunk.length))
    if (!isReading) socket.pause()
  })
  const port = await listening(server)
  return {
    port,
    arrived: () => arrived,
    connections: () => sockets.size,
    read(is: boolean) {
      isReading = is
      for (const socket of sockets) {
        if (is) socket.resume()
        else socket.pause()
      }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((done) => server.close(done))
    },
  }
}

/** Egress path of one run to servers on loopback, by any name. */
function egressTo(
  ports: readonly number[],
  asked: NetworkInput,
  more: { accounts?: TrafficAccounts; run?: string; zone?: string; trust?: readonly string[] } = {},
) {
  const { trust, ...rest } = more
  const dial = {
    resolver: () => Promise.resolve(['127.0.0.1']),
    exceptions: ports.map((port) => `127.0.0.1:${port}`),
    ...(trust && { trust }),
  }
  const emitter = { emit: () => undefined }
  const controls = { ...allControls, network: networkOf(asked) }
  const authority = makeAuthority(Date.now)
  const parts = { controls, run: 'exec_test', emitter, credentials: [], authority, dial, ...rest }
  const egress = openEgress(parts)
  return Object.assign(egress, { [Symbol.dispose]: () => egress.close() })
}
type Egress = ReturnType<typeof egressTo>

async function tunnels(egress: Egress, port: number, count: number): Promise<readonly Socket[]> {
  const listener = createServer()
  const own = await listening(listener)
  egress.listen(listener)
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect(own, '127.0.0.1').on('error', () => undefined)
      socket.write(`CONNECT a.example:${port} HTTP/1.1\r\nHost: a.example:${port}\r\n\r\n`)
      assert.match(String(await nextChunk(socket)), /^HTTP\/1.1 200 /)
      return socket
    }),
  )
}

/** Polls with a deadline that suits a busy machine. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1_000 && !holds(); tries++) await sleep(10)
}

/** Resolves when the socket is closed, with or without an error. */
const ended = (socket: Socket) =>
  new Promise<void>((done) => void socket.resume().once('close', () => done()))

const ask = (egress: Egress, url: string, more: object = {}) =>
  egress.fetch(
    JSON.stringify({ url, method: 'GET', headers: [], body: null, redirect: 'manual', ...more }),
  )

const sumOf = (egress: Egress) => egress.attempts.reduce((sum, { sent }) => sum + sent, 0)

/** Tunnel with more data waiting than all buffers hold; reports whether it was cut. */
async function stuck(egress: Egress, port: number) {
  const [socket] = await tunnels(egress, port, 1)
  let isClosed = false
  void ended(socket!).then(() => (isClosed = true))
  socket!.write(Buffer.alloc(32 * 2 ** 20, 'x'))
  for (let [before, same] = [-1, 0]; same < 5; await sleep(50)) {
    same = before === sumOf(egress) ? same + 1 : 0
    before = sumOf(egress)
  }
  return () => isClosed
}

suite('A byte budget under concurrent use', () => {
  test('S0-22: many tunnels sending at once stay within the budget of one', async () => {
    await using sink = await openSink()
    using egress = egressTo([sink.port], { allow: [`*://a.example:${sink.port}`], sent: sentMax })
    const sockets = await tunnels(egress, sink.port, many)
    let open = many
    for (const socket of sockets) void ended(socket).then(() => open--)
    for (const socket of sockets) socket.write(Buffer.alloc(30_000, 'x'))
    await until(() => open <= 1 && sink.arrived() > 0)
    egress.close()
    await until(() => sink.arrived() === sumOf(egress))
    assert.ok(open <= 1 && sumOf(egress) <= sentMax, `${sumOf(egress)}`)
    assert.ok(sink.arrived() >= 30_000, 'one of them fits')
    assert.equal(sink.arrived(), sumOf(egress))
  })

  const kinds: readonly (readonly [what: string, path: string, more: object])[] = [
    ['in bodies', '/', { method: 'POST', body: Buffer.alloc(12_000, 'x').toString('base64') }],
    ['in addresses', `/${'q'.repeat(12_000)}`, {}],
    ['in headers', '/', { headers: [1, 2].map((n) => [`X-${n}`, 'h'.repeat(6_000)]) }],
  ]
  const fitting = 2
  for (const scheme of ['http', 'https'] as const)
    for (const [what, path, more] of kinds)
      test(`S0-22: many brokered requests sending ${what} at once by ${scheme} stay within the budget`, async () => {
        await using world = await openWorld()
        const port = world.ports[scheme]
        const asked = { allow: [`${scheme}://a.example:${port}`], sent: sentMax }
        const url = `${scheme}://a.example:${port}${path}`
        using alone = egressTo([port], asked, { trust: [world.authority.pem] })
        assert.match(await ask(alone, url, more), /"status":200/)
        using egress = egressTo([port], asked, { trust: [world.authority.pem] })
        const ends = await Promise.all(Array.from({ length: many }, () => ask(egress, url, more)))
        const refused = ends.filter((text) => /bytes that this run may send/.test(text))
        const heard = world.heard.length - 1
        assert.equal(refused.length, many - heard)
        // ClientHellos of concurrent https requests may use up the budget themselves.
        const isFull = scheme === 'https' || heard === fitting
        assert.ok(heard <= fitting && isFull, `${heard}`)
        assert.ok(sumOf(egress) <= sentMax, `${sumOf(egress)}`)
      })

  test('S0-22: unused reservations can be sent by the next request', async () => {
    await using world = await openWorld()
    const port = world.ports.https
    const asked = { allow: [`https://a.example:${port}`], sent: 16 * 1024 }
    using egress = egressTo([port], asked, { trust: [world.authority.pem] })
    // Each handshake reserves 3 KB and takes about 2 KB.
    for (let turn = 0; turn < 5; turn++)
      assert.match(await ask(egress, `https://a.example:${port}/`), /"status":200/)
    assert.ok(sumOf(egress) > 7_500 && sumOf(egress) <= 16 * 1024, `${sumOf(egress)}`)
  })

  test('S0-22: tightening the budget cuts blocked writers', async () => {
    await using sink = await openSink()
    sink.read(false)
    const asked = { allow: [`*://a.example:${sink.port}`] }
    using egress = egressTo([sink.port], asked)
    const isClosed = await stuck(egress, sink.port)
    assert.ok(!isClosed(), 'it was closed before')
    const network = networkOf({ ...asked, sent: 50_000 })
    egress.tighten({ ...allControls, network })
    await until(isClosed)
    assert.ok(isClosed(), 'the writer was not cut')
    const [attempt] = egress.attempts
    assert.equal(attempt!.because, 'the bytes that this run may send are used up')
    sink.read(true)
    await sleep(50)
    assert.ok(sink.arrived() <= attempt!.sent, `${sink.arrived()} of ${attempt!.sent}`)
  })

  test('S0-22: a program budget below the sum of its zones cuts their blocked writers', async () => {
    await using sink = await openSink()
    sink.read(false)
    const asked = { allow: [`*://a.example:${sink.port}`] }
    const accounts = new TrafficAccounts()
    using main = egressTo([sink.port], asked, { accounts, zone: 'main' })
    using one = egressTo([sink.port], asked, { accounts, zone: 'one' })
    using two = egressTo([sink.port], asked, { accounts, zone: 'two' })
    const ways = [await stuck(one, sink.port), await stuck(two, sink.port)]
    // Enough for each zone alone.
    const sent = Math.max(sumOf(one), sumOf(two)) + 1
    const controls = { ...allControls, network: networkOf({ ...asked, sent }) }
    for (const egress of [one, two]) egress.tighten(controls)
    const areCut = () =>
      [one, two].map(({ attempts }) => /used up/.test(attempts[0]?.because ?? ''))
    await sleep(50)
    assert.deepEqual(
      [areCut(), ways.map((isClosed) => isClosed())],
      [
        [false, false],
        [false, false],
      ],
    )
    main.tighten(controls)
    await until(() => ways.every((isClosed) => isClosed()))
    assert.deepEqual(
      [areCut(), ways.map((isClosed) => isClosed())],
      [
        [true, true],
        [true, true],
      ],
    )
  })

  test('Eight forks of a run send no more together than it had left', async () => {
    await using sink = await openSink()
    const asked = { allow: [`*://a.example:${sink.port}`], sent: sentMax }
    const accounts = new TrafficAccounts()
    using parent = egressTo([sink.port], asked, { accounts })
    const send = async (egress: Egress, bytes: number) => {
      const [socket] = await tunnels(egress, sink.port, 1)
      socket!.write(Buffer.alloc(bytes))
      return socket!
    }
    const half = sentMax / 2
    await send(parent, half)
    await until(() => sink.arrived() === half)
    const names = Array.from({ length: 8 }, (_, n) => `exec_child${n}`)
    for (const name of names) accounts.join(name, 'exec_test')
    const children = names.map((run) => egressTo([sink.port], asked, { accounts, run }))
    try {
      const sockets = await Promise.all(children.map((one) => send(one, half)))
      let open = sockets.length
      for (const socket of sockets) void ended(socket).then(() => open--)
      await until(() => open <= 1)
      await sleep(50)
      assert.ok(sink.arrived() > half, 'a child sends')
      assert.ok(sink.arrived() <= sentMax, `${sink.arrived()} bytes arrived`)
      assert.ok(sumOf(parent) + children.reduce((all, one) => all + sumOf(one), 0) <= sentMax)
    } finally {
      for (const one of children) one.close()
    }
  })
})
