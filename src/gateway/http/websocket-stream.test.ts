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
  using _stream = new WebSocketStream(client as unknown as WebSocket)
  for (let round = 0; round < 3; round++) {
    t.mock.timers.tick(40 * pingMs)
    client.emit('pong')
  }
  assert.deepEqual(state, { pings: 120, isGone: false })
  t.mock.timers.tick(41 * pingMs)
  assert.deepEqual(state, { pings: 160, isGone: true })
})
