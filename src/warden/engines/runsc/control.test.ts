import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { SentryControl } from './control.ts'

suite('The control socket of a sentry', () => {
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
})

function result(value: unknown) {
  return { success: true, err: '', result: value }
}

/** The number of tasks, as a sentry that answers so is asked for it. */
async function asked(answer: (socket: Socket) => unknown): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-control-'))
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => void answer(socket))
  })
  server.listen(join(folder, 'runsc-w1.sock'))
  await once(server, 'listening')
  try {
    return await new SentryControl(folder, 'w1').tasks()
  } finally {
    server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
