import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { developmentCertificate } from '../../src/gateway/http/development-authority.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { until } from '../conformance/stand.ts'
import { adminKey, bearer, endOf, folder, openDoor, type TestDoor } from './http-door.ts'

/** Loopback addresses: each is an address of its own to the server. */
const [evil, good, third] = ['127.0.0.11', '127.0.0.12', '127.0.0.13'] as const
/** Addresses of half of forty connections: a second and a third address have a quarter each. */
const otherHalf = Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? good : third))

/** Opens a connection from an address, and collects what it receives. */
async function dial(door: Pick<TestDoor, 'activePort'>, from: string, text = '') {
  const socket = connect({ port: door.activePort, host: '127.0.0.1', localAddress: from })
  const heard = { text: '' }
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => (heard.text += String(chunk)))
  await once(socket, 'connect')
  if (text !== '') socket.write(text)
  return { socket, heard }
}

const livez = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'

const answersIn = (text: string) => text.split('HTTP/1.1 200').length - 1

/** Retries until there is an answer: the server may not have noticed yet that the last connection closed. */
async function assertServed(door: TestDoor, from: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { socket, heard } = await dial(door, from, livez)
    await until(() => socket.destroyed || answersIn(heard.text) === 1, 'an answer or an end')
    const isServed = answersIn(heard.text) === 1
    socket.destroy()
    if (isServed) return
  }
  assert.fail(`${from} is not served`)
}

function upgrade(path: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    ...headers,
  }
  const text = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${path} HTTP/1.1\r\n${text.join('')}\r\n`
}

/** Head of a masked frame of a client. */
function frameHead(first: number, length: number): Buffer {
  const head = Buffer.alloc(14)
  head.writeUInt8(first, 0)
  head.writeUInt8(0x80 | 127, 1)
  head.writeBigUInt64BE(BigInt(length), 2)
  return head
}
const textFrame = 0x81
const job = '{"code":"return 1"}'
const wholeJob = Buffer.concat([frameHead(textFrame, job.length), Buffer.from(job)])

const forEver: RunJob = async (asked, { signal }) => {
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
  return endOf(asked, { status: 'cancelled' })
}

/** Resolves when the connection is gone, also by an error. */
const closed = (socket: Socket): Promise<void> =>
  until(() => socket.destroyed, 'the connection to be closed')

suite('A client that exhausts connections, requests or bytes', () => {
  for (const [kind, bytes] of [
    ['silent', ''],
    ['slow, with endless headers', 'GET /livez HTTP/1.1\r\nHost: localhost\r\n'],
  ] as const)
    test(`S0-22: connections of one address that are ${kind} leave half of all connections to others`, async () => {
      await using door = await openDoor({ limits: { connections: 40 } })
      const all = await Promise.all(Array.from({ length: 60 }, () => dial(door, evil, bytes)))
      const open = () => all.filter(({ socket }) => !socket.destroyed)
      for (const { socket } of all) socket.resume()
      await until(() => open().length <= 20, 'the connections beyond the half to be closed')
      assert.equal(open().length, 20)
      const others = await Promise.all(otherHalf.map((from) => dial(door, from, livez)))
      const isAnswered = () => others.every(({ heard }) => answersIn(heard.text) === 1)
      await until(isAnswered, 'answers to the other half')
      for (const { socket } of others) socket.destroy()
      await assertServed(door, good)
      for (const { socket } of all) socket.destroy()
      await assertServed(door, evil)
    })

  test(
    'S0-22: connections of one address leave descriptors to others, where the server may have few of them',
    { skip: process.platform !== 'linux' && 'the limit is read from /proc' },
    async () => {
      const door = import.meta.resolve('./http-door.ts')
      const code = `import { openDoor } from '${door}'
        const { activePort } = await openDoor({ limits: { headersMs: 3_600_000 } })
        console.log(activePort)`
      const few =
        'ulimit -n 100; exec "$0" --input-type=module --disable-warning=ExperimentalWarning --eval "$1"'
      using server = spawn('sh', ['-c', few, process.execPath, code])
      const [port] = (await once(server.stdout, 'data')) as [Buffer]
      const own = { activePort: Number(port) }
      const all = await Promise.all(Array.from({ length: 120 }, () => dial(own, evil)))
      for (const { socket } of all) socket.resume()
      const open = () => all.filter(({ socket }) => !socket.destroyed).length
      await until(() => open() <= 12, 'the connections beyond its share to be closed')
      const { socket, heard } = await dial(own, good, livez)
      await until(() => answersIn(heard.text) === 1, 'the answer to another address')
      for (const one of [socket, ...all.map((each) => each.socket)]) one.destroy()
    },
  )

  test('S0-22: TLS handshakes that never end are limited by address in the same way', async () => {
    await using state = await folder()
    const { cert, key, authority: ca } = developmentCertificate(state.path, Date.now())
    await using door = await openDoor({
      tls: { cert, key, isLasting: false },
      limits: { connections: 40 },
    })
    const hello = '\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03'
    const all = await Promise.all(Array.from({ length: 60 }, () => dial(door, evil, hello)))
    const open = () => all.filter(({ socket }) => !socket.destroyed)
    await until(() => open().length <= 20, 'the connections beyond the half to be closed')
    assert.equal(open().length, 20)
    const from = (localAddress: string) =>
      connectTls({
        port: door.activePort,
        host: '127.0.0.1',
        localAddress,
        ca,
      } as ConnectionOptions)
    const others = otherHalf.map((one) => from(one))
    await Promise.all(others.map((one) => once(one, 'secureConnect')))
    for (const one of others) one.destroy()
    // A failed handshake releases its slot as well.
    for (const { socket } of all) socket.destroy()
    let made = 0
    for (let tries = 0; made < 30 && tries < 500; tries++) {
      const again = from(evil)
      const isMade = once(again, 'secureConnect').then(() => true)
      if (await isMade.catch(() => false)) made++
      again.destroy()
    }
    assert.equal(made, 30)
  })

  test('S0-22: a connection with more than a few unanswered requests is ended', async () => {
    // No connection ends for being idle.
    await using door = await openDoor({ limits: { keepAliveMs: 600_000, headersMs: 600_000 } })
    const { socket, heard } = await dial(door, evil, livez.repeat(1_500))
    await closed(socket)
    assert.ok(answersIn(heard.text) <= 32, `${answersIn(heard.text)} answers`)
    const few = await dial(door, evil, livez.repeat(20))
    await until(() => answersIn(few.heard.text) === 20, 'answers to a few')
    few.socket.write(livez.repeat(20))
    await until(() => answersIn(few.heard.text) === 40, 'answers to a few more')
    few.socket.destroy()
    await assertServed(door, good)
  })

  test('S0-22: a refused WebSocket is closed soon, also if its client keeps sending and never closes', async () => {
    await using door = await openDoor({ limits: { anonymousBodyBytes: 100_000 } })
    const { socket, heard } = await dial(door, evil, upgrade('/v1/executions'))
    await until(() => heard.text.includes(' 101 '), 'the upgrade')
    // Half open, the client sends on also once the server has ended its side.
    socket.allowHalfOpen = true
    socket.write(frameHead(textFrame, 30_000_000))
    const began = performance.now()
    // Too slow to end its message in that time: what comes after it is no frame, for which `ws` would close at once.
    const sending = setInterval(() => socket.write(Buffer.alloc(4_096, 0x20)), 5)
    await closed(socket)
    clearInterval(sending)
    assert.match(heard.text, /TOO_LARGE/)
    // `ws` waits 30 s for a client that does not close.
    assert.ok(performance.now() - began < 20_000)
  })

  test('S0-22: a terminal refused for its first message is closed soon, also if its client keeps sending', async () => {
    await using door = await openDoor()
    const { socket, heard } = await dial(door, evil, upgrade('/v1/sandboxes/none/pty'))
    await until(() => heard.text.includes(' 101 '), 'the upgrade')
    // Half open, as above.
    socket.allowHalfOpen = true
    const token = '{"token":"mfy_wrong"}'
    socket.write(Buffer.concat([frameHead(textFrame, token.length), Buffer.from(token)]))
    const empty = Buffer.concat(Array(1000).fill(frameHead(0x82, 0)))
    const sending = setInterval(() => socket.write(empty), 5)
    await closed(socket)
    clearInterval(sending)
    assert.match(heard.text, /UNAUTHENTICATED/)
    // `ws` reads for 30 s from a client that does not close.
    assert.ok(socket.bytesWritten < 20_000_000, `${socket.bytesWritten} bytes were accepted`)
  })

  test('S0-22: a terminal is closed whose client floods it with pings before its first message', async () => {
    await using door = await openDoor({ limits: { bodyMs: 3_600_000 } })
    const [flood, few] = [
      await dial(door, evil, upgrade('/v1/sandboxes/none/pty')),
      await dial(door, evil, upgrade('/v1/sandboxes/none/pty')),
    ]
    const isOpen = () => [flood, few].every(({ heard }) => heard.text.includes(' 101 '))
    await until(isOpen, 'the upgrades')
    const ping = Buffer.from([0x89, 0x80, 0, 0, 0, 0])
    few.socket.write(Buffer.concat(Array(3).fill(ping)))
    await until(() => few.heard.text.endsWith('\ufffd\0'.repeat(3)), 'three pongs')
    flood.socket.write(Buffer.concat(Array(1000).fill(ping)))
    await closed(flood.socket)
    few.socket.write(ping)
    await until(() => few.heard.text.endsWith('\ufffd\0'.repeat(4)), 'a fourth pong')
    few.socket.destroy()
  })

  test('S0-22: after its job the server does not buffer a second, endless message of the client', async () => {
    await using door = await openDoor({ road: forEver })
    const { socket, heard } = await dial(door, evil, upgrade('/v1/executions', bearer(adminKey)))
    await until(() => heard.text.includes(' 101 '), 'the upgrade')
    socket.write(wholeJob)
    await until(() => door.jobs.length === 1, 'the job')
    socket.write(frameHead(textFrame, 30_000_000))
    const sending = setInterval(() => socket.write(Buffer.alloc(16_384, 0x20)), 5)
    await closed(socket)
    clearInterval(sending)
    assert.ok(socket.bytesWritten < 5_000_000, `${socket.bytesWritten} bytes were accepted`)
  })

  for (const port of ['staticPort', 'activePort'] as const)
    test(`S0-22: large pages that a client without a key has not read are charged to its address, ${port}`, async () => {
      // Room for one of them.
      await using door = await openDoor({ limits: { answersBytes: 1_200_000 } })
      const page = 'GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n'
      const { socket, heard } = await dial({ activePort: door[port] }, evil, page.repeat(20))
      const isAnswered = () => heard.text.split('HTTP/1.1 ').length === 21
      await until(() => isAnswered() || socket.destroyed, 'the answers')
      assert.match(heard.text, /HTTP\/1\.1 200 /)
      assert.match(heard.text, /HTTP\/1\.1 503 [^]*"code":"OVERLOADED"/)
      socket.destroy()
    })

  test('S0-12: bodies of one address that never end leave room for those of another visitor', async () => {
    await using door = await openDoor({ limits: { anonymousBodiesBytes: 4000, bodyMs: 60_000 } })
    const head = (bytes: number) =>
      `POST /active-content HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`
    const slow = await Promise.all(
      Array.from({ length: 4 }, () => dial(door, evil, head(1000) + ' '.repeat(900))),
    )
    const refused = () => slow.filter(({ heard }) => heard.text.includes(' 503 ')).length
    await until(() => refused() === 2, 'those beyond the half to be refused')
    const other = await dial(door, good, `${head(900)}${' '.repeat(897)}{}\n`)
    await until(() => other.heard.text.includes(' 401 '), 'the body of another to be read')
    for (const { socket } of [...slow, other]) socket.destroy()
  })
})
