import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, Socket, type AddressInfo } from 'node:net'
import { suite, test } from 'node:test'
import { answerChannel, passOverSurplusAcks, sendReply, type Channel } from './channel.ts'
import type { Reply } from '../contract/warden.ts'
import type { Request } from '../contract/warden-request.ts'
import type { Warden } from './warden.ts'

const started: Reply = { id: 1, ok: true, value: { id: 'w1' } }

suite('The warden’s end of a channel', () => {
  test('An invalid message is refused if it has an id, and dropped otherwise', () => {
    const { hear, replies, asked } = standing()
    for (const message of [null, 7, 'start', {}, { id: 'x' }, { id: 1.5 }, [], undefined])
      hear(message)
    assert.deepEqual([replies, asked], [[], []])
    hear({ id: 3, op: 'start', protocol: 1 })
    assert.deepEqual([replies.map((one) => 'ok' in one && one.ok), asked], [[false], []])
  })

  test('Another protocol is refused', () => {
    const { hear, replies, asked } = standing()
    hear({ protocol: 2, id: 3, op: 'facts' })
    assert.deepEqual([replies.length, asked], [1, []])
  })

  test('More than a thousand pending requests are refused', () => {
    const { hear, replies, asked } = standing()
    for (let id = 1; id <= 1001; id++) hear({ protocol: 1, id, op: 'facts' })
    assert.deepEqual([asked.length, replies.length], [1000, 1])
  })

  test('A request that is too large is refused unread', () => {
    const { hear, replies, asked } = standing()
    const digests = Array.from({ length: 200_000 }, () => 'a'.repeat(64))
    hear({ protocol: 1, id: 3, op: 'sign', digests, seq: 0, head: 'a'.repeat(64) })
    assert.deepEqual([replies.length, asked], [1, []])
  })

  test('A wall whose socket cannot be handed over is killed: it would have no owner', () => {
    for (const send of [failing, throwing]) {
      const { warden, asked } = standing()
      const socket = new Socket()
      sendReply(warden, { send }, started, { wall: 'w1', handle: socket })
      assert.equal(socket.destroyed, true)
      assert.deepEqual(
        asked.map((request) => [request.op, 'wall' in request && request.wall]),
        [['kill', 'w1']],
      )
    }
  })
})

suite('A wall of whole programs, handed over', () => {
  test('The outputs are sent before the answer, each in a message of its own', () => {
    const { warden, sent, handover } = withStreams()
    sendReply(warden, { send: sent.send }, started, handover)
    assert.deepEqual(sent.messages, [
      { of: 1, part: 'stdout' },
      { of: 1, part: 'stderr' },
      started,
      started,
    ])
    assert.deepEqual(sent.handles, [
      handover.streams.stdout,
      handover.streams.stderr,
      handover.handle,
      undefined,
    ])
  })

  test('If one socket cannot be passed, all are closed, and the wall is killed once', () => {
    for (const failsAt of [1, 2, 3])
      for (const isThrown of [true, false]) {
        const { warden, asked, sent, handover } = withStreams(failsAt, isThrown)
        sendReply(warden, { send: sent.send }, started, handover)
        const ends = [handover.streams.stdout, handover.streams.stderr, handover.handle]
        assert.deepEqual([...new Set(ends.map((one) => one.destroyed))], [true])
        assert.deepEqual(
          asked.map((request) => [request.op, 'wall' in request && request.wall]),
          [['kill', 'w1']],
        )
        assert.equal(sent.messages.length, failsAt)
      }
  })

  test('A listener is closed in the warden once it was passed', async () => {
    const { warden } = standing()
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { send } = withStreams().sent
    sendReply(warden, { send }, { id: 1, ok: true, value: {} }, { wall: 'w1', handle: server })
    assert.equal(server.listening, false)
  })
})

test('A server that is out of descriptors gets the answer without the socket of its wall', async () => {
  const { warden } = standing()
  const code = `const { openSync } = require('node:fs')
    process.on('message', (reply, handle) => {
      process.send({ reply, hasHandle: handle !== undefined }, () => process.disconnect())
    })
    process.send('ready', () => {
      try { for (;;) openSync('/dev/null') } catch {}
      process.send('full')
    })`
  const few = 'ulimit -n 100; exec "$0" --eval "$1"'
  using server = spawn('sh', ['-c', few, process.execPath, code], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  assert.deepEqual(await once(server, 'message'), ['ready', undefined])
  assert.deepEqual(await once(server, 'message'), ['full', undefined])
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const channel = server as unknown as Channel
  sendReply(warden, channel, started, { wall: 'w1', handle: listener })
  assert.deepEqual((await once(server, 'message'))[0], { reply: started, hasHandle: false })
  listener.close()
})

test('A server that acknowledges a socket twice, as after a shortage of descriptors, gets the next one', async () => {
  const code = `process.on('message', (message, handle) => {
      process.send({ message, hasHandle: handle !== undefined })
    })
    process.on('internalMessage', ({ cmd }) => {
      if (cmd === 'NODE_HANDLE') process._send({ cmd: 'NODE_HANDLE_ACK' })
    })
    process.send('ready')`
  using server = spawn(process.execPath, ['--eval', code], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  passOverSurplusAcks(server)
  assert.deepEqual(await once(server, 'message'), ['ready', undefined])
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  for (const message of ['first', 'second']) {
    const client = connect((listener.address() as AddressInfo).port, '127.0.0.1')
    const [socket] = (await once(listener, 'connection')) as [Socket]
    server.send(message, socket)
    assert.deepEqual((await once(server, 'message'))[0], { message, hasHandle: true })
    client.destroy()
  }
  // After the acknowledgements of the second.
  server.send('third')
  assert.deepEqual((await once(server, 'message'))[0], { message: 'third', hasHandle: false })
  listener.close()
})

/** A channel that breaks at the message of this number. */
function withStreams(failsAt = 0, isThrown = false) {
  const messages: unknown[] = []
  const handles: unknown[] = []
  const send: Channel['send'] = (message, handle, done) => {
    messages.push(message)
    handles.push(handle)
    const breaks = messages.length === failsAt
    if (breaks && isThrown) throw new Error('the channel is closed')
    done(breaks ? new Error('the channel is closed') : null)
    return true
  }
  const handover = {
    wall: 'w1',
    handle: new Socket(),
    streams: { stdout: new Socket(), stderr: new Socket() },
  }
  return { ...standing(), sent: { send, messages, handles }, handover }
}

const failing: Channel['send'] = (_message, _handle, done) => {
  done(new Error('the channel is closed'))
  return false
}

const throwing: Channel['send'] = () => {
  throw new Error('the channel is closed')
}

/** A warden that takes requests and never answers. */
function standing() {
  const asked: Request[] = []
  const replies: Reply[] = []
  const warden = {
    answer(request: Request) {
      asked.push(request)
      return new Promise(() => {})
    },
  } as unknown as Warden
  const hear = answerChannel(warden, {
    send: (reply, _handle, done) => {
      replies.push(reply as Reply)
      done(null)
      return true
    },
  })
  return { warden, hear, replies, asked }
}

test('A listener that the server never receives does not keep the warden alive', async () => {
  const { warden } = standing()
  const listener = createServer()
  await new Promise<void>((resolve) => void listener.listen(0, '127.0.0.1', resolve))
  const held = () =>
    process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length
  const before = held()
  sendReply(warden, { send: () => false }, started, { wall: 'w1', handle: listener })
  assert.equal(held(), before - 1)
  listener.close()
})
