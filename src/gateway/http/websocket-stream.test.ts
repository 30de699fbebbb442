import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import type { WebSocket } from 'ws'
import { WebSocketStream } from './websocket-stream.ts'

const pingMs = 15_000

test('A client that answers no ping is disconnected, and one that answers some is not', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const state = { pings: 0, isGone: false }
  const client = Object.assign(new EventEmitter(), {
    bufferedAmount: 0,
    ping: () => void state.pings++,
    pong: () => undefined,
    terminate: () => void (state.isGone = true),
  })
  const raw = { bytesRead: 0, bytesWritten: 0, writableLength: 0 }
  using _stream = new WebSocketStream(client as unknown as WebSocket, raw)
  for (let round = 0; round < 3; round++) {
    t.mock.timers.tick(40 * pingMs)
    client.emit('pong')
  }
  assert.deepEqual(state, { pings: 120, isGone: false })
  t.mock.timers.tick(41 * pingMs)
  assert.deepEqual(state, { pings: 160, isGone: true })
})

test('A client that sends and reads nothing is disconnected, and one that reads slowly or is silent is not', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const opened = () => {
    const raw = { bytesRead: 0, bytesWritten: 1_000_000, writableLength: 900_000 }
    const state = { isGone: false }
    const client = Object.assign(new EventEmitter(), {
      bufferedAmount: 900_000,
      pong: () => undefined,
      terminate: () => void (state.isGone = true),
    })
    const _handle = { writeQueueSize: 900_000 }
    const socket = Object.assign(raw, { _handle })
    return {
      raw,
      state,
      _handle,
      stream: new WebSocketStream(client as unknown as WebSocket, socket),
    }
  }
  const [deaf, slow, silent, within] = [opened(), opened(), opened(), opened()]
  for (let round = 0; round < 45; round++) {
    t.mock.timers.tick(pingMs)
    deaf.raw.bytesRead += 6
    slow.raw.bytesRead += 6
    within.raw.bytesRead += 6
    // The kernel takes a part of one large write now and then.
    if (round % 20 === 0) within._handle.writeQueueSize -= 5
    if (round % 30 === 0) slow.raw.writableLength -= 5
  }
  assert.deepEqual(
    [deaf, slow, silent, within].map(({ state }) => state.isGone),
    [true, false, false, false],
  )
  for (const { stream } of [deaf, slow, silent, within]) stream[Symbol.dispose]()
})
