import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SentryControl } from './control.ts'

suite('The control socket of a sentry', { timeout: 60_000 }, () => {
  test('Answers that arrive in pieces are assembled', async () => {
    const text = JSON.stringify(result({ results: [{ value: '17\n', is_error: false }] }))
    const tasks = await asked(async (socket) => {
      socket.write(text.slice(0, 20))
      await new Promise((resolve) => void setTimeout(resolve, 5))
      socket.write(text.slice(20))
    })
    assert.equal(tasks, 17)
  })

  test('An answer in pieces of a byte is refused after a few of them', async () => {
    let sent = 0
    const broken = Promise.withResolvers<void>()
    const bytes = asked(async (socket) => {
      socket.once('close', () => broken.resolve())
      socket.write('{"success":true,"err":"')
      for (; sent < 2_000 && !socket.destroyed; sent++) {
        socket.write('a')
        await new Promise((resolve) => void setImmediate(resolve))
      }
    })
    await assert.rejects(bytes, /in too many pieces/)
    await broken.promise
    assert.ok(sent < 2_000, `${sent} bytes were read`)
  })

  test('Refusals, endless answers and closed sockets reject', async () => {
    const answers: readonly ((socket: Socket) => void)[] = [
      (socket) => socket.write(JSON.stringify({ success: false, err: 'no', result: null })),
      (socket) => socket.write('x'.repeat(2 ** 17)),
      (socket) => socket.end(),
      (socket) =>
        socket.write(JSON.stringify(result({ results: [{ value: 'gone', is_error: true }] }))),
    ]
    for (const answer of answers) await assert.rejects(asked(answer))
  })

  test('A pause that is confirmed after its deadline is undone then, and not before', async () => {
    const said: string[] = []
    const pausing = Promise.withResolvers<Socket>()
    const resumed = Promise.withResolvers<void>()
    await using sentry = await openSentry((socket, method) => {
      said.push(method)
      if (method === pause) return pausing.resolve(socket)
      socket.write(JSON.stringify(result(null)))
      resumed.resolve()
    })
    const pauses = new SentryControl(sentry.folder, 'w1', 50).pauses()
    const late = assert.rejects(pauses.pause(), /is late/)
    // The deadline may be over before this process takes the request.
    const socket = await pausing.promise
    await late
    await pauses.resume()
    assert.deepEqual(said, [pause])
    socket.write(JSON.stringify(result(null)))
    await resumed.promise
    assert.deepEqual(said, [pause, resume])
  })

  test('A sentry that confirms no pause is asked for one, and for the next once it has', async () => {
    const said: string[] = []
    const pausing = Promise.withResolvers<Socket>()
    await using sentry = await openSentry((socket, method) => {
      said.push(method)
      if (said.length === 1) pausing.resolve(socket)
      else socket.write(JSON.stringify(result(null)))
    })
    const pauses = new SentryControl(sentry.folder, 'w1', 500).pauses()
    const late = assert.rejects(pauses.pause(), /is late/)
    const socket = await pausing.promise
    await late
    for (let tries = 0; tries < 3; tries++)
      await assert.rejects(pauses.pause(), /an earlier pause is not confirmed/)
    assert.deepEqual(said, [pause])
    socket.write(JSON.stringify(result(null)))
    for (let isPaused = false, naps = 0; !isPaused; naps++) {
      assert.ok(naps < 1_000, 'it is not asked again')
      await sleep(10)
      isPaused = await pauses.pause().then(
        () => true,
        () => false,
      )
    }
    assert.deepEqual([said.slice(0, 2), said.at(-1)], [[pause, resume], pause])
  })

  test('A resume that is late costs no socket after its deadline', async () => {
    const closed = Promise.withResolvers<void>()
    await using sentry = await openSentry((socket, method) => {
      if (method === pause) socket.write(JSON.stringify(result(null)))
      else socket.once('close', () => closed.resolve())
    })
    const pauses = new SentryControl(sentry.folder, 'w1', 500).pauses()
    await pauses.pause()
    await assert.rejects(pauses.resume(), /is late/)
    await closed.promise
  })

  test('A reason has one pause at most, and one resume for it', async () => {
    const said: string[] = []
    await using sentry = await openSentry((socket, method) => {
      said.push(method)
      socket.write(JSON.stringify(result(null)))
    })
    const control = new SentryControl(sentry.folder, 'w1')
    const [one, other] = [control.pauses(), control.pauses()]
    await one.resume()
    await Promise.all([one.pause(), one.pause(), one.resume(), one.resume()])
    assert.deepEqual(said, [pause, resume])
    await one.pause()
    await other.pause()
    assert.deepEqual(said.slice(2), [pause, pause])
  })
})

const pause = 'containerManager.Pause'
const resume = 'containerManager.Resume'

function result(value: unknown) {
  return { success: true, err: '', result: value }
}

/** The number of tasks, as a sentry that answers so is asked for it. */
async function asked(answer: (socket: Socket) => unknown): Promise<number> {
  await using sentry = await openSentry(answer)
  return await new SentryControl(sentry.folder, 'w1').tasks()
}

/** A socket of a sentry that answers so, in the folder of its state. */
async function openSentry(answer: (socket: Socket, method: string) => unknown) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-control-'))
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (request: Buffer) => {
      const { method } = JSON.parse(request.toString()) as { readonly method: string }
      void answer(socket, method)
    })
  })
  server.listen(join(folder, 'runsc-w1.sock'))
  await once(server, 'listening')
  return {
    folder,
    async [Symbol.asyncDispose]() {
      server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
