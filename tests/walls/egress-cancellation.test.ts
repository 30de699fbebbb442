import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { allControls, noNetwork } from '../../src/contract/controls.ts'
import type { Event } from '../../src/contract/event.ts'
import { networkOf } from '../../src/contract/network.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { openEgress } from '../../src/egress/open-egress.ts'
import { inTime, until } from '../conformance/stand.ts'
import { listening, emitterInto } from '../fixtures/egress.ts'

const silent = '127.0.0.2'
/** Timeout per address; the tests withdraw the request long before. */
const tryMs = 1_500

/** Port with two addresses: the backlog of one is full, so that connects time out; the other one accepts. */
async function openHalf() {
  const server = createServer((socket) => void socket.on('error', () => undefined).resume())
  const port = await listening(server)
  let connections = 0
  server.on('connection', () => connections++)
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads')
    require('node:net').createServer().listen({ port: ${port}, host: '${silent}', backlog: 1 }, () => {
      parentPort.postMessage('listens')
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
    })`,
    { eval: true },
  )
  await once(worker, 'message')
  const waiting: Socket[] = []
  // The backlog is full once a connect goes unanswered.
  for (let isFull = false; !isFull;) {
    const socket = connect(port, silent).on('error', () => undefined)
    waiting.push(socket)
    isFull = await Promise.race([once(socket, 'connect').then(() => false), sleep(300, true)])
  }
  return {
    port,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      for (const socket of waiting) socket.destroy()
      await worker.terminate()
      await new Promise((done) => server.close(done))
    },
  }
}

type Doing = (egress: ReturnType<typeof openEgress>) => void
const withdrawn: Doing = (egress) => egress.tighten({ ...allControls, network: noNetwork })
const ended: Doing = (egress) => egress.close()

/** Egress path of a run with one connection pending at an address that never answers. */
async function opening(port: number, how: 'proxy' | 'fetch') {
  const events: Event[] = []
  const listener = createServer()
  const own = await listening(listener)
  const before = pendingAt(port)
  const egress = openEgress({
    controls: { ...allControls, network: networkOf({ allow: [`*://a.example:${port}`] }) },
    run: 'exec_test',
    emitter: emitterInto(events),
    credentials: [],
    authority: makeAuthority(Date.now),
    dial: {
      resolver: () => Promise.resolve([silent, '127.0.0.1']),
      timeoutMs: tryMs,
      exceptions: [`${silent}:${port}`, `127.0.0.1:${port}`],
    },
  })
  egress.listen(listener)
  const at = `a.example:${port}`
  const request = { url: `http://${at}/`, method: 'GET', headers: [], body: null }
  const over =
    how === 'fetch'
      ? egress.fetch(JSON.stringify({ ...request, redirect: 'follow' }))
      : said(own, `CONNECT ${at} HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
  await until(() => pendingAt(port) > before, 'its connection')
  return { egress, over, events }
}

/** Sockets of this machine that wait for the answer of the silent address. */
function pendingAt(port: number): number {
  const to = ` 0200007F:${port.toString(16).toUpperCase().padStart(4, '0')} 02 `
  return readFileSync('/proc/net/tcp', 'latin1').split(to).length - 1
}

async function said(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  let back = ''
  socket.on('data', (chunk: Buffer) => (back += String(chunk))).on('end', () => socket.end())
  socket.write(text)
  await once(socket, 'close')
  return back
}

suite('The pending connection', { concurrency: true }, () => {
  for (const how of ['proxy', 'fetch'] as const)
    for (const [what, doing, because] of [
      ['the network is withdrawn', withdrawn, 'this run has no network'],
      ['the run is over', ended, 'the run is over'],
    ] as const)
      test(`S4-8: of a request by ${how} is cancelled when ${what}, and no further address is tried`, async () => {
        await using half = await openHalf()
        const { egress, over, events } = await opening(half.port, how)
        doing(egress)
        await over
        egress.close()
        await sleep(tryMs + 500)
        assert.equal(half.connections(), 0)
        assert.deepEqual(
          egress.attempts.map(({ host, verdict, because: why }) => [host, verdict, why]),
          [['a.example', 'denied', because]],
        )
        assert.equal(events.filter(({ point }) => point.startsWith('egress/')).length, 1)
      })
})

for (const how of ['proxy', 'fetch'] as const)
  test(`A request by ${how} is refused if its address is denied while it connects to another one of its name`, async () => {
    await using half = await openHalf()
    const { egress, over } = await opening(half.port, how)
    egress.tighten({ ...allControls, network: networkOf({ deny: ['127.0.0.1'] }) })
    assert.match(await inTime(over, 'the refusal'), /resolves to a denied address/)
    assert.deepEqual(
      egress.attempts.map(({ verdict, sent }) => [verdict, sent]),
      [['denied', 0]],
    )
    egress.close()
  })

/** Egress path of a run whose names resolve to loopback, where this port is open. */
function openTo(port: number, network = allControls.network) {
  return openEgress({
    controls: { ...allControls, network },
    run: 'exec_test',
    emitter: emitterInto([]),
    credentials: [],
    authority: makeAuthority(Date.now),
    dial: {
      resolver: () => Promise.resolve(['127.0.0.1']),
      exceptions: [`127.0.0.1:${port}`],
    },
  })
}

test('A deny rule for an address cuts the tunnels and fetches of the names that resolve to it', async (t) => {
  let requests = 0
  const mute = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => requests++)
  })
  t.after(() => mute.close())
  const listener = createServer()
  const [port, own] = [await listening(mute), await listening(listener)]
  const egress = openTo(port)
  egress.listen(listener)
  const at = `a.example:${port}`
  const request = { url: `http://${at}/`, method: 'GET', headers: [], body: null }
  const fetched = egress.fetch(JSON.stringify({ ...request, redirect: 'follow' }))
  const tunnel = connect(own, '127.0.0.1').on('error', () => undefined)
  const closed = once(tunnel, 'close')
  tunnel.write(`CONNECT ${at} HTTP/1.1\r\nHost: ${at}\r\n\r\n`)
  await inTime(once(tunnel, 'data'), 'the tunnel')
  tunnel.write('ping')
  await until(() => requests === 2, 'both requests')
  egress.tighten({ ...allControls, network: networkOf({ deny: ['127.0.0.2'] }) })
  assert.ok(egress.attempts.every(({ because }) => !because?.includes('denied address')))
  egress.tighten({ ...allControls, network: networkOf({ deny: ['127.0.0.1'] }) })
  assert.match(await inTime(fetched, 'the refusal'), /resolves to a denied address/)
  await inTime(closed, 'the end of the tunnel')
  const said = egress.attempts.map(({ because }) => because)
  assert.deepEqual(said, Array(2).fill('"a.example" resolves to a denied address'))
  egress.close()
})

for (const [what, doing] of [
  ['the network is withdrawn', withdrawn],
  ['the run is over', ended],
] as const)
  test(`S4-8: pending DNS queries are cancelled when ${what}, and their fetches are refused`, async () => {
    const events: Event[] = []
    const stopped: string[] = []
    const asked = Promise.withResolvers<void>()
    const egress = openEgress({
      controls: {
        ...allControls,
        network: networkOf({ allow: ['*://*.example:*', 'dns://*.example'] }),
      },
      run: 'exec_test',
      emitter: emitterInto(events),
      credentials: [],
      authority: makeAuthority(Date.now),
      dial: {
        resolver: (name, stop) => {
          if (name === 'b.example') asked.resolve()
          stop.addEventListener('abort', () => stopped.push(name))
          return new Promise(() => undefined)
        },
      },
    })
    const fetched = ['http://a.example/', 'http://dns.mayfly/resolve?name=b.example'].map((url) =>
      egress.fetch(
        JSON.stringify({ url, method: 'GET', headers: [], body: null, redirect: 'follow' }),
      ),
    )
    await asked.promise
    doing(egress)
    assert.deepEqual(stopped, ['a.example', 'b.example'])
    for (const text of await Promise.all(fetched)) assert.match(text, /EGRESS_DENIED/)
    egress.close()
    const told = egress.attempts.map(({ host, verdict }) => `${host} ${verdict}`)
    assert.deepEqual(new Set(told), new Set(['a.example denied', 'b.example denied']))
    assert.equal(told.length, 2)
    assert.equal(events.length, 2)
  })

for (const [what, doing, because] of [
  ['the network is withdrawn', withdrawn, /this run has no network/],
  ['the run is over', ended, /the run is over/],
] as const)
  test(`A fetch whose server does not answer its TLS handshake is cut when ${what}`, async (t) => {
    const heard = Promise.withResolvers<void>()
    const mute = createServer((socket) => {
      socket.on('error', () => undefined).once('data', () => heard.resolve())
    })
    t.after(() => mute.close())
    const port = await listening(mute)
    const egress = openTo(port, networkOf({ allow: [`https://a.example:${port}`] }))
    const request = { url: `https://a.example:${port}/`, method: 'GET', headers: [], body: null }
    const over = egress.fetch(JSON.stringify({ ...request, redirect: 'follow' }))
    await inTime(heard.promise, 'the ClientHello')
    doing(egress)
    assert.match(await inTime(over, 'the refusal', 20_000), because)
    egress.close()
  })
