import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { test, type TestContext } from 'node:test'
import type { Wall } from '../contract/warden.ts'
import { createArtifactCap, type ArtifactCap } from './artifact-cap.ts'
import { until } from '../../tests/conformance/stand.ts'
import { type HandleEnd, WallHandle } from './handle.ts'

const MiB = 2 ** 20
const artifactKind = 17

/** A handle on one end of a loopback connection; the test writes what a hostile guest writes. */
async function connected(t: TestContext, cap: ArtifactCap, streams?: WallHandle['streams']) {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const guest = connect(port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    guest.destroy()
    socket.destroy()
    server.close()
  })
  guest.on('error', () => undefined)
  let killed = 0
  let tellEnd: ((how: HandleEnd['how'], peakBytes: number, detail: string) => void) | undefined
  const warden = {
    onLost: () => () => undefined,
    onEnded: (_id: string, tell: typeof tellEnd) => void (tellEnd = tell),
    kill() {
      killed++
      setImmediate(() => tellEnd?.('killed', 0, 'killed'))
      return Promise.resolve()
    },
  }
  const handle = new WallHandle({ id: 'w' } as Wall, socket, warden as never, streams, cap)
  const heard: number[] = []
  const ended = new Promise<HandleEnd>((resolve) =>
    handle.listen({ frame: ({ kind }) => void heard.push(kind), ended: resolve }),
  )
  const exit = () => tellEnd?.('exit', 0, 'exit 0')
  return { handle, guest, ended, heard, exit, killed: () => killed }
}

function header(payloadBytes: number): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32LE(payloadBytes + 1, 0)
  head[4] = artifactKind
  return head
}

test('A frame over the bound of its job ends the wall before its payload is buffered', async (t) => {
  const { handle, guest, ended, killed } = await connected(t, createArtifactCap(100 * MiB))
  handle.boundFrames(MiB)
  guest.write(header(MiB + 1))
  assert.equal((await ended).how, 'garbled')
  assert.equal(killed(), 1)
})

test('The frames that a worker sent before it exited are read before its end, which its warden tells first', async (t) => {
  const { guest, ended, heard, exit } = await connected(t, createArtifactCap(100 * MiB))
  await new Promise<void>((sent) => void guest.end(header(0), () => sent()))
  exit()
  assert.deepEqual(heard, [])
  assert.deepEqual(await ended, { how: 'exit', peakBytes: 0, detail: 'exit 0', exit: undefined })
  assert.deepEqual(heard, [artifactKind])
})

test('Incomplete frames of all walls count against the cap of the server, and are released from it', async (t) => {
  const cap = createArtifactCap(4 * MiB)
  const walls = await Promise.all([1, 2, 3].map(() => connected(t, cap)))
  for (const { guest } of walls) {
    guest.write(header(8 * MiB))
    guest.write(Buffer.alloc(3 * MiB))
  }
  const first = await Promise.race(walls.map(({ ended }) => ended))
  assert.equal(first.how, 'pressure')
  for (const { handle } of walls) {
    assert.ok(handle.unreadBytes <= 4 * MiB, `${handle.unreadBytes} bytes are held`)
    await handle.kill()
  }
  for (const { guest } of walls) guest.destroy()
  await Promise.all(walls.map(({ ended }) => ended))
  assert.equal(cap.take(4 * MiB), true)
})

test(
  'Outputs with unread bytes are closed once the wall has ended and no job is in it',
  { timeout: 60_000 },
  async (t) => {
    for (const endsFirst of [true, false]) {
      const outputs = { stdout: new PassThrough(), stderr: new PassThrough() }
      const streams = outputs as unknown as WallHandle['streams']
      const { handle, guest, ended, exit } = await connected(t, createArtifactCap(MiB), streams)
      outputs.stderr.write('x')
      const isClosed = () => Object.values(outputs).every(({ destroyed }) => destroyed)
      if (!endsFirst) handle.listen(undefined)
      guest.end()
      exit()
      if (endsFirst) {
        await ended
        assert.ok(!isClosed(), 'its job may still read them')
        handle.listen(undefined)
      }
      await until(isClosed, 'its end')
    }
  },
)
