import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { passMessages } from './websocket-terminal.ts'

test('A client that floods its terminal with control messages is not read on, and typed bytes arrive after it', async () => {
  let isPaused = false
  const resumed = new EventEmitter()
  const client = Object.assign(new EventEmitter(), {
    pause: () => void (isPaused = true),
    resume() {
      isPaused = false
      resumed.emit('resumed')
    },
    close: () => assert.fail('the client is closed'),
  })
  const typed = Promise.withResolvers<string>()
  let sizes = 0
  passMessages(client, {
    write: async (bytes) => typed.resolve(Buffer.from(bytes).toString()),
    resize: () => void sizes++,
    signal: () => undefined,
  })
  const control = Buffer.from('{"resize":{"cols":80,"rows":24}}')
  while (!isPaused && sizes < 10_000) client.emit('message', control, false)
  assert.ok(sizes < 400, `${sizes} messages`)
  const going = new Promise((resolve) => resumed.once('resumed', resolve))
  client.emit('message', Buffer.from('ls'), true)
  assert.equal(await typed.promise, 'ls')
  await going
  assert.ok(!isPaused)
})
