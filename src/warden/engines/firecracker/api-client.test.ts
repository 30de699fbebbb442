import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../../../contract/error.ts'
import { ApiClient, faultOf, type ApiFault } from './api-client.ts'

const uid = process.getuid?.() ?? 0
const skip = process.platform !== 'linux' && 'it needs Linux'
/** Longer than an answer takes on a busy machine. */
const MS_MAX = 60_000
const paused = { method: 'PATCH', path: '/vm', body: { state: 'Paused' } } as const

/** A socket at which each connection is answered so: after its first bytes, or unread. */
class PlayedServer implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'mayfly-api-'))
  readonly socket = join(this.folder, 'api.sock')
  readonly heard: string[] = []
  readonly #open = new Set<Socket>()
  readonly #server: Server

  constructor(answer: (socket: Socket) => void, { isUnread = false } = {}) {
    const options = isUnread ? { pauseOnConnect: true, allowHalfOpen: true } : {}
    this.#server = createServer(options, (socket) => {
      this.#open.add(socket)
      socket.on('error', () => undefined)
      if (isUnread) return answer(socket)
      socket.on('data', (chunk) => void this.heard.push(chunk.toString('latin1')))
      socket.once('data', () => answer(socket))
    })
  }

  async listen(): Promise<this> {
    await once(this.#server.listen(this.socket), 'listening')
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    this.#server.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const unread = { isUnread: true }
const upgrade = 'HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n'

async function failureOf(work: Promise<unknown>): Promise<MayflyError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof MayflyError, `no MayflyError: ${String(error)}`)
  return error
}

const http = (status: string, body = '') =>
  `HTTP/1.1 ${status}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

suite('The client of the API', { skip }, () => {
  test('A request is JSON with its length, and ends at a 204', async () => {
    await using server = await new PlayedServer((socket) =>
      socket.end(http('204 No Content')),
    ).listen()
    await new ApiClient({ socket: server.socket, uid, msMax: MS_MAX }).send(paused)
    assert.match(server.heard.join(''), /^PATCH \/vm HTTP\/1\.1\r\n/)
    assert.match(server.heard.join(''), /content-length: 18\r\n/)
    assert.match(server.heard.join(''), /\r\n\r\n\{"state":"Paused"\}$/)
  })

  test('Answers in pieces are read whole', async () => {
    const body = JSON.stringify({ firecracker_version: '1.15.1' })
    await using server = await new PlayedServer((socket) => {
      const text = http('200 OK', body)
      socket.write(text.slice(0, 30))
      setImmediate(() => socket.write(text.slice(30, 60), () => socket.end(text.slice(60))))
    }).listen()
    assert.equal(
      await new ApiClient({ socket: server.socket, uid, msMax: MS_MAX }).version(),
      '1.15.1',
    )
  })

  test('Hostile and broken answers end in a stable code each', { timeout: 300_000 }, async () => {
    const fault = (text: string) => JSON.stringify({ fault_message: text })
    const answers: readonly (readonly [
      name: string,
      answer: (socket: Socket) => void,
      kind: ApiFault,
    ])[] = [
      ['refusal', (socket) => socket.end(http('400 Bad Request', fault('no'))), 'refused'],
      ['own fault', (socket) => socket.end(http('500 No', fault('no'))), 'failed'],
      ['refusal without a message', (socket) => socket.end(http('400 No', '{}')), 'malformed'],
      ['a success with a body', (socket) => socket.end(http('200 OK', '{}')), 'malformed'],
      [
        'a redirect',
        (socket) =>
          socket.end('HTTP/1.1 302 No\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n'),
        'malformed',
      ],
      ['no HTTP', (socket) => socket.end('\0\u0001 nothing\r\n\r\n'), 'malformed'],
      ['a change of protocol', (socket) => socket.write(upgrade), 'malformed'],
      ['nothing', () => undefined, 'late'],
      [
        'a drop each moment',
        (socket) => void setInterval(() => socket.write('H'), 1e9).unref(),
        'late',
      ],
      [
        'endless continues',
        (socket) => socket.write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(9)),
        'late',
      ],
      [
        'half an answer',
        (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{'),
        'gone',
      ],
      ['half a header', (socket) => socket.end('HTTP/1.1 2'), 'gone'],
      ['a closed connection', (socket) => void socket.destroy(), 'gone'],
      [
        'a long header',
        (socket) => socket.write(`HTTP/1.1 204 No\r\nA: ${'a'.repeat(20_000)}`),
        'malformed',
      ],
      [
        'a long body',
        (socket) =>
          socket.write(`HTTP/1.1 400 No\r\nContent-Length: 9999999\r\n\r\n${'a'.repeat(100_000)}`),
        'too-large',
      ],
    ]
    for (const [name, answer, kind] of answers) {
      await using server = await new PlayedServer(answer).listen()
      const client = new ApiClient({
        socket: server.socket,
        uid,
        msMax: kind === 'late' ? 100 : MS_MAX,
      })
      const error = await failureOf(client.send(paused))
      // A half header is an error of the parser or of the connection, as the bytes come.
      const kinds = name === 'half a header' ? ['gone', 'malformed'] : [kind]
      assert.ok(kinds.includes(faultOf(error) ?? ''), `${name}: ${JSON.stringify(error.details)}`)
      assert.match(error.message, /^Cannot do "PATCH \/vm": the machine /, name)
    }
  })

  test('A server that changes the protocol and resets the connection ends nothing but the request', async () => {
    const closed = Promise.withResolvers<void>()
    await using server = await new PlayedServer((socket) => {
      socket.once('close', () => closed.resolve())
      socket.write(upgrade)
      // By then the request lies in its queue, unread: a close resets the connection.
      setTimeout(() => socket.destroy(), 50)
    }, unread).listen()
    const client = new ApiClient({ socket: server.socket, uid, msMax: MS_MAX })
    const caught: unknown[] = []
    const note = (error: unknown) => void caught.push(error)
    process.on('uncaughtException', note)
    try {
      assert.equal(faultOf(await failureOf(client.send(paused))), 'malformed')
      await closed.promise
      await sleep(50)
    } finally {
      process.off('uncaughtException', note)
    }
    assert.deepEqual(caught, [])
  })

  test('A changed protocol leaves no connection behind', { timeout: 30_000 }, async () => {
    const ended = Promise.withResolvers<void>()
    await using server = await new PlayedServer((socket) => {
      socket.once('end', () => ended.resolve())
      socket.write(upgrade)
      socket.resume()
    }, unread).listen()
    const client = new ApiClient({ socket: server.socket, uid, msMax: MS_MAX })
    assert.equal(faultOf(await failureOf(client.send(paused))), 'malformed')
    await ended.promise
  })

  test('Answers of other forms are malformed', async () => {
    const bodies = [
      '',
      '[]',
      'null',
      '{"firecracker_version":1}',
      `{"firecracker_version":"${'1'.repeat(200)}"}`,
    ]
    for (const body of bodies) {
      await using server = await new PlayedServer((socket) =>
        socket.end(http('200 OK', body)),
      ).listen()
      const client = new ApiClient({ socket: server.socket, uid, msMax: MS_MAX })
      assert.equal(faultOf(await failureOf(client.version())), 'malformed', body)
    }
  })

  test('The message of a fault is escaped, cut, and for the log alone', async () => {
    const text = `\u001b[2J\n/srv/secret \u202e${'x'.repeat(5_000)}`
    const body = JSON.stringify({ fault_message: text })
    await using server = await new PlayedServer((socket) =>
      socket.end(http('400 Bad', body)),
    ).listen()
    const error = await failureOf(
      new ApiClient({ socket: server.socket, uid, msMax: MS_MAX }).send(paused),
    )
    assert.ok(error.detail!.startsWith('\\u001b[2J\\u000a/srv/secret \\u202e'))
    assert.ok(error.detail!.length <= 501)
    assert.doesNotMatch(error.message + JSON.stringify(error.details), /secret/)
    assert.deepEqual(error.details, { fault: 'refused', request: 'PATCH /vm', status: 400 })
  })

  test('A missing socket is a machine that is gone', async () => {
    const client = new ApiClient({ socket: join(tmpdir(), 'mayfly-no-such.sock'), uid })
    assert.equal(faultOf(await failureOf(client.send(paused))), 'gone')
  })

  test('A planted link, a file, and a socket of another uid are never spoken to', async () => {
    await using server = await new PlayedServer((socket) =>
      socket.end(http('204 No Content')),
    ).listen()
    const hidden = join(server.folder, 'of-this-machine.sock')
    const send = (owner: number) =>
      new ApiClient({ socket: server.socket, uid: owner }).send(paused)
    assert.equal((await failureOf(send(uid + 1))).code, 'PROTOCOL')
    renameSync(server.socket, hidden)
    symlinkSync(hidden, server.socket)
    // O_NOFOLLOW with O_PATH opens the link itself, which is no socket.
    assert.equal((await failureOf(send(uid))).code, 'PROTOCOL')
    rmSync(server.socket)
    writeFileSync(server.socket, '')
    assert.equal((await failureOf(send(uid))).code, 'PROTOCOL')
    assert.deepEqual(server.heard, [])
  })
})
