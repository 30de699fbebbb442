import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import type { Keys } from '../../src/gateway/http/keys.ts'
import { until } from '../conformance/stand.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { bearer, call, endOf, openDoor, post, tokenOf, type TestDoor } from './http-door.ts'

/** Fair shares: one tenant cannot use up a resource that all tenants share. */
const tenants = ['acme', 'globex'] as const
const keys: Keys = {
  find: (key) =>
    tenants.includes(key as 'acme')
      ? { id: key, tenant: key, principal: key, scopes: ['run', 'read'] }
      : undefined,
}
const [acme, globex] = tenants.map(bearer) as [Record<string, string>, Record<string, string>]
const job = (door: TestDoor, who: Record<string, string>, code = 'return 1') =>
  post(`${door.gateway.activeUrl}/v1/executions`, { code }, who)

/** A request whose body lacks its last byte; `gone` resolves when it was answered or the connection closed. */
async function begun(door: TestDoor, path: string, bytes: number, more = '') {
  const socket = connect(door.activePort, '127.0.0.1')
  await once(socket, 'connect')
  const said: { text: string } = { text: '' }
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => void (said.text += chunk.toString()))
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${more}Content-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`,
  )
  socket.write(' '.repeat(bytes - 1))
  return { socket, said }
}

suite('Shared resources of the server', () => {
  test('a client without a key may send few bytes, and uses none of the body budget of tenants', async () => {
    await using door = await openDoor({
      keys,
      limits: {
        anonymousBodyBytes: 1000,
        anonymousBodiesBytes: 4000,
        bodiesBytes: 10_000,
        bodyMs: 5000,
      },
    })
    const large = await post(`${door.gateway.activeUrl}/active-content`, {
      content: 'x'.repeat(2000),
      sessionToken: 'mfs_x.y',
    })
    assert.deepEqual([large.status, large.json['code']], [413, 'TOO_LARGE'])
    const opened: Socket[] = []
    const answers: { text: string }[] = []
    for (let n = 0; n < 4; n++) {
      const { socket, said } = await begun(door, '/active-content', 900)
      opened.push(socket)
      answers.push(said)
    }
    const refused = () => answers.filter(({ text }) => text.includes(' 503 ')).length
    await until(() => refused() === 2, 'the third and the fourth to be refused')
    assert.equal((await job(door, acme, `return ${'1'.repeat(2000)}`)).status, 200)
    for (const socket of opened) socket.destroy()
  })

  test('without anonymous sessions, no body is read of a client without a key', async () => {
    await using door = await openDoor({ keys, sessions: { anonymous: false } })
    const { socket, said } = await begun(door, '/active-content', 1_000_000)
    await until(() => said.text.includes(' 401 '), 'it to be refused before its end')
    socket.destroy()
  })

  test('a tenant uses at most half of the job slots, and another gets the rest', async () => {
    const over = Promise.withResolvers<void>()
    const road: RunJob = async (asked) => {
      await over.promise
      return endOf(asked)
    }
    await using door = await openDoor({ keys, road, limits: { running: 8 } })
    const under = Array.from({ length: 4 }, () => job(door, acme))
    await until(() => door.jobs.length === 4, 'all of them to be under way')
    const refused = await job(door, acme)
    assert.deepEqual([refused.status, refused.json['code']], [503, 'OVERLOADED'])
    const other = job(door, globex)
    await until(() => door.jobs.length === 5, 'that of another')
    over.resolve()
    for (const one of await Promise.all([...under, other])) assert.equal(one.status, 200)
  })

  test('the bytes of running jobs are bounded too', async () => {
    const over = Promise.withResolvers<void>()
    const road: RunJob = async (asked) => {
      await over.promise
      return endOf(asked)
    }
    await using door = await openDoor({ keys, road, limits: { runningBytes: 10_000 } })
    const first = job(door, acme, `return ${'1'.repeat(4000)}`)
    await until(() => door.jobs.length === 1, 'it to be under way')
    assert.equal((await job(door, acme, `return ${'1'.repeat(4000)}`)).status, 503)
    const other = job(door, globex, `return ${'1'.repeat(2000)}`)
    await until(() => door.jobs.length === 2, 'that of another')
    over.resolve()
    assert.deepEqual([(await first).status, (await other).status], [200, 200])
  })

  test('outcomes that clients do not read do not pile up', async () => {
    const road: RunJob = async (asked) => endOf(asked, { stdout: 'x'.repeat(12_000_000) })
    await using door = await openDoor({ keys, road, limits: { answersBytes: 60_000_000 } })
    const { json } = await job(door, acme)
    const path = `/v1/executions/${String(json['id'])}`
    const get = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer acme\r\n\r\n`
    const sockets: Socket[] = []
    for (let n = 0; n < 2; n++) {
      const socket = connect(door.activePort, '127.0.0.1')
      sockets.push(socket)
      await once(socket, 'connect')
      socket.pause()
      socket.write(get)
      // A response counts in the budget from its first byte until the client has read it.
      await until(() => socket.bytesRead > 1000, 'the beginning of an answer')
    }
    const again = () => call(`${door.gateway.activeUrl}${path}`, { headers: acme })
    const isIn = async (status: number) => {
      for (const late = performance.now() + 20_000; performance.now() < late; await sleep(20))
        if ((await again()).status === status) return true
      return false
    }
    assert.ok(await isIn(503), 'the refusal of a third')
    for (const socket of sockets) socket.destroy()
    assert.ok(await isIn(200), 'the response after the others were read')
  })

  for (const [form, accept] of [
    ['JSON', 'application/json'],
    ['an event stream', 'text/event-stream'],
  ] as const)
    test(`new outcomes that a tenant does not read do not pile up, as ${form}, and another gets its own`, async () => {
      const road: RunJob = async (asked) => endOf(asked, { stdout: 'x'.repeat(12_000_000) })
      await using door = await openDoor({ keys, road, limits: { answersBytes: 60_000_000 } })
      const asked = '{"code":"return 1"}'
      const begin = async (path: string, who: string) => {
        const socket = connect(door.activePort, '127.0.0.1')
        await once(socket, 'connect')
        const head = `Host: localhost\r\nAuthorization: Bearer ${who}\r\nAccept: ${accept}`
        const body = `Content-Type: application/json\r\nContent-Length: ${asked.length}\r\n\r\n${asked}`
        socket.write(`POST ${path} HTTP/1.1\r\n${head}\r\n${body}`)
        return socket
      }
      const sockets: Socket[] = []
      const beginnings: string[] = []
      for (let n = 0; n < 6; n++) {
        const socket = await begin('/v1/executions', 'acme')
        sockets.push(socket)
        const [first] = (await once(socket, 'data')) as [Buffer]
        socket.pause()
        beginnings.push(first.toString().slice(9, 12))
      }
      assert.deepEqual(beginnings, ['200', '200', '503', '503', '503', '503'])
      assert.equal((await job(door, globex)).status, 200)
      for (const socket of sockets) socket.destroy()
      const refused = door.jobs.filter(({ tenant }) => tenant === 'acme').slice(2)
      assert.equal(refused.length, 4)
      for (const { id } of refused) {
        const read = async () =>
          (await call(`${door.gateway.activeUrl}/v1/executions/${id}`, { headers: acme })).status
        let status = await read()
        for (let tries = 0; status === 503 && tries < 500; tries++) {
          await sleep(20)
          status = await read()
        }
        assert.equal(status, 200, 'the outcome of a job whose answer was refused')
      }
    })

  test('outcomes that a visitor of a page does not read leave room for those of another address', async () => {
    const road: RunJob = async (asked) => endOf(asked, { stdout: 'x'.repeat(12_000_000) })
    const limits = { answersBytes: 120_000_000, sessionRunning: 8 }
    const proxies = { trustedProxies: ['127.0.0.1'] }
    await using door = await openDoor({ keys, road, limits, ...proxies })
    const asked = JSON.stringify({ content: '1', sessionToken: await tokenOf(door) })
    const sockets: Socket[] = []
    const ask = async (address: string) => {
      const socket = connect(door.staticPort, '127.0.0.1')
      sockets.push(socket)
      await once(socket, 'connect')
      const head = `Host: localhost\r\nX-Forwarded-For: ${address}\r\nContent-Type: application/json`
      socket.write(
        `POST /active-content HTTP/1.1\r\n${head}\r\nContent-Length: ${asked.length}\r\n\r\n${asked}`,
      )
      const [first] = (await once(socket, 'data')) as [Buffer]
      socket.pause()
      return first.toString().slice(9, 12)
    }
    const first = []
    for (let n = 0; n < 4; n++) first.push(await ask('192.0.2.1'))
    assert.deepEqual(first, ['200', '200', '503', '503'])
    assert.equal(await ask('192.0.2.2'), '200')
    assert.equal((await job(door, acme)).status, 200)
    for (const socket of sockets) socket.destroy()
  })

  for (const [what, path, accept, refusal] of [
    ['a list', '/v1/providers', 'application/json', '503'],
    ['a list in MessagePack', '/v1/providers', 'application/msgpack', '503'],
    // Closed without an answer.
    ['an MCP stream', '/mcp', 'text/event-stream', ''],
  ] as const)
    test(`answers that a tenant does not read count whatever they are, such as ${what}`, async () => {
      const large = 'x'.repeat(6_000_000)
      const providers = async () => [{ large }] as never
      const stream = () => new Response(large, { headers: { 'content-type': 'text/event-stream' } })
      const mcp = { answer: async () => stream(), close: async () => undefined }
      const limits = { answersBytes: 30_000_000 }
      await using door = await openDoor({ keys, providers, mcp, limits })
      using sockets = new DisposableStack()
      const bytesOf = async (path: string, who: string) => {
        const socket = connect(door.activePort, '127.0.0.1')
        sockets.defer(() => socket.destroy())
        socket.on('error', () => undefined)
        socket.write(
          `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${who}\r\nAccept: ${accept}\r\n\r\n`,
        )
        const [first] = (await Promise.race([once(socket, 'data'), once(socket, 'close')])) as [
          Buffer | boolean,
        ]
        socket.pause()
        return String(first).slice(9, 12)
      }
      const began = []
      for (let n = 0; n < 4; n++) began.push(await bytesOf(path, 'acme'))
      assert.deepEqual(began, ['200', '200', refusal, refusal])
      assert.equal(await bytesOf('/v1/capabilities', 'acme'), '200', 'a small answer')
      assert.equal(await bytesOf(path, 'globex'), '200', 'another tenant')
    })

  test('answers in MessagePack of one tenant let a request of another through between them', async () => {
    const result = Array.from({ length: 400_000 }, (_, n) => n % 10)
    const road: RunJob = async (asked) => endOf(asked, { result })
    await using door = await openDoor({ keys, road })
    const { json } = await job(door, acme)
    const large = new AbortController()
    const url = `${door.gateway.activeUrl}/v1/executions/${String(json['id'])}`
    const headers = { ...acme, accept: 'application/msgpack' }
    const first = await call(url, { headers })
    assert.deepEqual(
      [first.status, first.headers.get('content-type')],
      [200, 'application/msgpack'],
    )
    let answered = 0
    const asked = Array.from({ length: 8 }, async () => {
      const response = await fetch(url, { headers, signal: large.signal })
      await response.arrayBuffer()
      answered++
    })
    // In a turn of its tenant a conversion is followed by a pause of several times its length.
    for (let others = 0; others < 200; others++) {
      const other = await call(`${door.gateway.activeUrl}/v1/executions`, { headers: globex })
      assert.equal(other.status, 200)
      assert.ok(answered < 8, `the last of them after ${others} others`)
    }
    large.abort()
    await Promise.allSettled(asked)
  })
})
