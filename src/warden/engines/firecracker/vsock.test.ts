import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { MayflyError } from '../../../contract/error.ts'
import { connectVsock } from './vsock.ts'

const uid = process.getuid?.() ?? 0
const skip = process.platform !== 'linux' && 'it needs Linux'

/** Connects to port 52 of a machine that answers so. */
async function connected<T>(
  answer: (socket: Socket, line: string) => void,
  use: (socket: Socket) => Promise<T> | T,
  options: { readonly msMax?: number; readonly plant?: boolean; readonly uid?: number } = {},
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-vsock-'))
  const file = join(folder, 'v.sock')
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.once('data', (chunk) => answer(socket, chunk.toString('latin1')))
  })
  try {
    await once(server.listen(file), 'listening')
    if (options.plant) {
      renameSync(file, `${file}.real`)
      symlinkSync(`${file}.real`, file)
    }
    const socket = await connectVsock({
      socket: file,
      uid: options.uid ?? uid,
      port: 52,
      msMax: options.msMax ?? 20_000,
    })
    try {
      return await use(socket)
    } finally {
      socket.destroy()
    }
  } finally {
    for (const socket of open) socket.destroy()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'connected',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  )

suite('A connection to a port of a guest', { skip }, () => {
  test('The first byte after the line is the first that its owner reads', async () => {
    let asked = ''
    const text = await connected(
      (socket, line) => {
        asked = line
        // The guest speaks at once: its bytes come with the line.
        socket.write('OK 1073741824\nhello ')
        setImmediate(() => socket.end('guest\n'))
      },
      async (socket) => {
        const chunks: Buffer[] = []
        for await (const chunk of socket) chunks.push(chunk as Buffer)
        return Buffer.concat(chunks).toString()
      },
    )
    assert.equal(asked, 'CONNECT 52\n')
    assert.equal(text, 'hello guest\n')
  })

  test('A line that arrives byte by byte is read', async () => {
    const bytes = 'OK 7\nx'.split('')
    const first = await connected(
      (socket) => {
        const send = () =>
          void (bytes.length > 0 && socket.write(bytes.shift()!, () => setImmediate(send)))
        send()
      },
      async (socket) => ((await once(socket, 'data')) as [Buffer])[0].toString(),
    )
    assert.equal(first, 'x')
  })

  test('Other lines are refused, and no more than a line is read of them', async () => {
    const lines = [
      'NO\n',
      'OK\n',
      'OK -1\n',
      'OK 12345678901\n',
      'ok 1\n',
      'OK 1 \n',
      '\n',
      'x'.repeat(2 ** 20),
      'OK 1\r\n',
      'OK 1\0\n',
    ]
    for (const line of lines)
      assert.equal(
        await codeOf(
          connected(
            (socket) => socket.write(line),
            () => undefined,
          ),
        ),
        'PROTOCOL',
        line.slice(0, 20),
      )
  })

  test('A port without a listener, a half line and a silent machine end in time', async () => {
    const answers: readonly (readonly [answer: (socket: Socket) => void, msMax?: number])[] = [
      [(socket) => void socket.destroy()],
      [(socket) => socket.end()],
      [(socket) => socket.end('OK 1')],
      [() => undefined, 100],
      [(socket) => socket.write('OK '), 100],
    ]
    for (const [answer, msMax = 20_000] of answers)
      assert.equal(await codeOf(connected(answer, () => undefined, { msMax })), 'UNAVAILABLE')
  })

  test('A planted link and a socket of another uid are refused', async () => {
    const ok = (socket: Socket) => socket.write('OK 1\n')
    assert.equal(await codeOf(connected(ok, () => undefined, { plant: true })), 'PROTOCOL')
    assert.equal(await codeOf(connected(ok, () => undefined, { uid: uid + 1 })), 'PROTOCOL')
  })

  test('Numbers that are no port are refused before anything is sent', async () => {
    for (const port of [0, -1, 1.5, NaN, 2 ** 32 - 1, 2 ** 32])
      assert.equal(await codeOf(connectVsock({ socket: '/nowhere', uid, port })), 'INTERNAL')
    assert.equal(await codeOf(connectVsock({ socket: '/nowhere', uid, port: 52 })), 'UNAVAILABLE')
  })
})
