import assert from 'node:assert/strict'
import net from 'node:net'
import { until } from '../../tests/conformance/stand.ts'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { paceOf, ProgramStream, type StreamOptions } from './output-stream.ts'

async function pair(t: TestContext) {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const writer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  t.after(() => {
    writer.destroy()
    socket.destroy()
    server.close()
  })
  return { writer, socket }
}

function collecting(socket: net.Socket, more: Partial<StreamOptions> = {}) {
  const chunks: Uint8Array[] = []
  let floods = 0
  const stream = new ProgramStream({
    socket,
    bytesMax: 10_000_000,
    take: (chunk) => void chunks.push(chunk),
    flooded: () => void floods++,
    ...more,
  })
  return { stream, text: () => Buffer.concat(chunks).toString(), floods: () => floods, chunks }
}

test('Output written before the end is delivered, in chunks of at most 64 KiB', async (t) => {
  const { writer, socket } = await pair(t)
  const read = collecting(socket)
  const all = 'x'.repeat(1_000_000)
  await new Promise((done) => writer.write(all, done))
  while (read.text().length < all.length) await read.stream.drained()
  assert.equal(read.text(), all)
  assert.ok(read.chunks.every((chunk) => chunk.length <= 65_536))
})

test('A slow reader puts back-pressure on the program and loses nothing', async (t) => {
  const { writer, socket } = await pair(t)
  const gate = Promise.withResolvers<void>()
  let taken = 0
  const read = collecting(socket, {
    take: async (chunk) => {
      await gate.promise
      taken += chunk.length
    },
  })
  const block = Buffer.alloc(2 ** 20)
  let written = 0
  for (let n = 0; n < 32; n++) writer.write(block, () => (written += block.length))
  await sleep(100)
  assert.equal(taken, 0)
  assert.ok(written < 32 * 2 ** 20, 'nothing held it back')
  gate.resolve()
  const all = () => taken >= 10_000_000 + 8 * 2 ** 20
  while (!all()) await read.stream.drained()
  assert.equal(taken, 10_000_000 + 8 * 2 ** 20)
})

test('Output beyond the limit is passed on up to a flood, which is dropped and reported once', async (t) => {
  const { writer, socket } = await pair(t)
  const read = collecting(socket, { bytesMax: 5 })
  await new Promise((done) => writer.write('0123456789', done))
  await read.stream.drained()
  assert.equal(read.text(), '0123456789')
  const block = Buffer.alloc(2 ** 20)
  for (let n = 0; n < 10; n++) await new Promise((done) => writer.write(block, done))
  await until(() => read.floods() > 0, 'the flood')
  assert.equal(read.text().length, 5 + 8 * 2 ** 20)
})

test('A program that writes without end is rate-limited, and still reaches its end', async (t) => {
  const { writer, socket } = await pair(t)
  const read = collecting(socket, { bytesMax: 2 ** 30 })
  const taken = () => read.chunks.reduce((sum, { length }) => sum + length, 0)
  const all = 3 * paceOf.burst
  const began = performance.now()
  writer.write(Buffer.alloc(all))
  while (!socket.isPaused()) await new Promise(setImmediate)
  // Tokens that are added while it writes come on top on a busy machine.
  const most = paceOf.burst + 2 ** 20 + (performance.now() - began) * paceOf.eachMs
  assert.ok(taken() >= paceOf.burst && taken() < most, `${taken()} of ${most}`)
  await until(() => taken() >= 2 * paceOf.burst, 'two bursts')
  // Once its end is awaited, what is left is read at once.
  await read.stream.drained()
  await until(() => taken() >= all, 'all of it')
  assert.equal(socket.isPaused(), false)
})

test('The rest of a writer that has ended is passed on in order without its reader', async (t) => {
  const { writer, socket } = await pair(t)
  const heard: Uint8Array[] = []
  const read = collecting(socket, {
    take: (chunk) => {
      heard.push(chunk)
      return new Promise<void>(() => undefined)
    },
  })
  const all = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251))
  // As one chunk of a multiplexed stream: its later pieces wait for the reader too.
  socket.emit('data', all.subarray(0, 150_000))
  writer.end(all.subarray(150_000))
  const drained = read.stream.drained()
  read.stream.hurry()
  await drained
  assert.ok(Buffer.concat(heard).equals(all), `${Buffer.concat(heard).length} bytes`)
})

test('A drain waits for a stalled reader until its time limit', async (t) => {
  const { writer, socket } = await pair(t)
  const read = collecting(socket, { take: () => new Promise<void>(() => undefined) })
  await new Promise<void>((done) => void writer.write('x', () => done()))
  await sleep(50)
  let isDrained = false
  const drained = read.stream.drained().then(() => (isDrained = true))
  await sleep(50)
  assert.ok(!isDrained)
  read.stream.giveUp()
  await drained
})
