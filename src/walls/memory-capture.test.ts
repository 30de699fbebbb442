import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { MemoryCopies } from './memory-capture.ts'

const socketOf = (stream: PassThrough) => stream as unknown as Socket
const whole = '{"pid":7,"from":"a000","bytes":3}\nabc{"end":true,"isWhole":true}\n'

function begun(stream: PassThrough, text: string, leftOut = 0) {
  stream.write(text)
  return Promise.resolve({ processes: 1, leftOut })
}

test('Gaps are reported: processes left out, and those that refused ptrace', async () => {
  const stream = new PassThrough()
  const { why } = await new MemoryCopies().copy(
    () => Promise.resolve(socketOf(stream)),
    () => begun(stream, `{"pid":8,"refused":true}\n${whole}`, 26),
  )
  assert.equal(why, '26 of its processes are left out; 1 of its processes could not be looked into')
})

test('Copies come one after the other, in two parts each', async () => {
  const stream = new PassThrough()
  const copies = new MemoryCopies()
  const copy = () =>
    copies.copy(
      () => Promise.resolve(socketOf(stream)),
      () => begun(stream, whole),
    )
  for (const { kind, parts } of await Promise.all([copy(), copy()])) {
    assert.equal(kind, 'memory')
    assert.equal(Buffer.concat(parts[0]!.bytes).toString(), 'abc')
  }
  copies.close()
  assert(stream.destroyed)
})

test('After an unreadable copy the next one is refused at once', { timeout: 5000 }, async () => {
  const stream = new PassThrough()
  const copies = new MemoryCopies()
  const copy = () =>
    copies.copy(
      () => Promise.resolve(socketOf(stream)),
      () => begun(stream, 'what?\n'),
    )
  await assert.rejects(copy(), /it cannot be read/)
  await assert.rejects(copy(), /its socket is closed/)
})

test('A socket that arrives after the end is closed', async () => {
  const stream = new PassThrough()
  const copies = new MemoryCopies()
  const opening = Promise.withResolvers<Socket>()
  const copied = copies.copy(
    () => opening.promise,
    () => Promise.reject(new Error('nobody is asked any more')),
  )
  copies.close()
  opening.resolve(socketOf(stream))
  await assert.rejects(copied, /its socket is closed/)
  assert(stream.destroyed)
})
