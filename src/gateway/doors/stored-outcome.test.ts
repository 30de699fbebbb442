import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { SenderShares } from '../http/sender-shares.ts'
import { countAnswer } from './stored-outcome.ts'

test('A stream is charged for a large piece until it was written, and no longer', async () => {
  const answers = new SenderShares(1_000_000, 500_000)
  const emitter = Object.assign(new EventEmitter(), { destroy: () => undefined })
  const outgoing = emitter as unknown as ServerResponse
  const source = new TransformStream<Uint8Array, Uint8Array>()
  const headers = { 'content-type': 'text/event-stream' }
  const { body } = await countAnswer(
    { answers },
    { outgoing },
    'a',
    new Response(source.readable, { headers }),
  )
  const [writer, reader] = [source.writable.getWriter(), body!.getReader()]
  for (let at = 0; at < 20; at++) {
    const written = writer.write(new Uint8Array(100_000))
    assert.equal((await reader.read()).value?.length, 100_000)
    await written
    assert.equal(answers.total, 100_000)
    emitter.emit('drain')
    assert.equal(answers.total, 0)
  }
  void writer.write(new Uint8Array(100_000))
  await reader.read()
  emitter.emit('close')
  assert.equal(answers.total, 0)
})
