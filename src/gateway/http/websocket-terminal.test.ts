import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { passMessages } from './websocket-terminal.ts'

test('A client that floods its terminal with control messages is not read on, and typed bytes arrive after it', async () => {
  const state = { isPaused: false, controls: 0, signals: 0 }
  const resumed = new EventEmitter()
  const client = Object.assign(new EventEmitter(), {
    pause: () => void (state.isPaused = true),
    resume() {
      state.isPaused = false
      resumed.emit('resumed')
    },
    close: () => assert.fail('the client is closed'),
  })
  const typed = Promise.withResolvers<string>()
  passMessages(client, {
    write: async (bytes) => typed.resolve(Buffer.from(bytes).toString()),
    resize: () => void state.controls++,
    signal: () => void (state.controls++, state.signals++),
  })
  const resize = Buffer.from('{"resize":{"cols":80,"rows":24}}')
  const signal = Buffer.from('{"signal":"SIGINT"}')
  while (!state.isPaused && state.controls < 10_000) {
    client.emit('message', resize, false)
    client.emit('message', signal, false)
  }
  assert.ok(state.controls < 400 && state.signals > 100, JSON.stringify(state))
  const going = new Promise((resolve) => resumed.once('resumed', resolve))
  client.emit('message', Buffer.from('ls'), true)
  assert.equal(await typed.promise, 'ls')
  await going
  assert.ok(!state.isPaused)
})

test('A client that floods its terminal with empty messages is not read on', async (t) => {
  t.mock.method(performance, 'now', () => 0)
  const state = { isPaused: false, written: 0 }
  const client = Object.assign(new EventEmitter(), {
    pause: () => void (state.isPaused = true),
    resume: () => void (state.isPaused = false),
    close: () => assert.fail('the client is closed'),
  })
  passMessages(client, {
    write: async () => void state.written++,
    resize: () => undefined,
    signal: () => undefined,
  })
  for (let sent = 0; sent < 31_000; sent++) client.emit('message', Buffer.alloc(0), true)
  while (state.written < 31_000) await turn()
  await turn()
  assert.ok(state.isPaused)
})
