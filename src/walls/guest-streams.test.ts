import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { until } from '../../tests/conformance/stand.ts'
import { collectGarbage } from '../lib/collect-garbage.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../lib/frames.ts'
import { GuestStreams, type StreamPositions } from './guest-streams.ts'
import { GuestStream, unreadBytesOf, windowBytes, type StreamCarrier } from './guest-stream.ts'
import { linePaceBytes } from './paced-socket.ts'

/** A played carrier at the other end of a socket. */
suite('Streams of a guest on one socket', () => {
  test('Bytes of each stream arrive in their order, and ends and credits follow', async () => {
    await using played = await play()
    const { streams, carrier } = played
    const said = collect(streams.streams.stdout)
    carrier.data(1, 'one')
    carrier.data(1, 'two')
    carrier.frame(2, number(1))
    assert.equal(await said, 'onetwo')
    await carrier.until(() => carrier.creditOf(1) === 6)
  })

  test('A write waits for the window of the guest, and continues with its credit', async () => {
    await using played = await play()
    const { streams, carrier } = played
    const all = Buffer.alloc(windowBytes.own + 1000, 'x')
    const written = new Promise<void>((resolve) => void streams.handle.write(all, () => resolve()))
    await carrier.until(() => carrier.bytesOf(0) === windowBytes.own)
    assert.equal(carrier.bytesOf(0), windowBytes.own)
    carrier.frame(3, Buffer.concat([number(0), number(1000)]))
    await written
    await carrier.until(() => carrier.bytesOf(0) === all.length)
  })

  test('A serial line gets as many bytes as it reported as read, of all streams together', async () => {
    assert.equal(linePaceBytes, 2048)
    await using played = await play(undefined, true)
    const { streams, carrier } = played
    for (const byte of ['x', 'y', 'z']) streams.handle.write(Buffer.alloc(linePaceBytes, byte))
    streams.listen()
    await carrier.until(() => carrier.received === linePaceBytes)
    for (let sent = linePaceBytes; sent < 3 * linePaceBytes; sent += 512) {
      assert.equal(carrier.received, sent)
      assert.ok(!carrier.seen.some(({ kind }) => kind === 5))
      carrier.frame(12, number(512))
      await carrier.until(() => carrier.received === sent + 512)
    }
    carrier.frame(12, number(512))
    await carrier.until(({ kind }) => kind === 5)
    assert.equal(carrier.bytesOf(0), 3 * linePaceBytes)
  })

  for (const [what, isPaced, bytes] of [
    ['more bytes as read than were sent', true, 1],
    ['no byte as read', true, 0],
    ['a read where it is no line', false, 1],
  ] as const)
    test(`A carrier that reports ${what} ends its wall`, async () => {
      await using played = await play(undefined, isPaced)
      played.carrier.frame(12, number(bytes))
      await once(played.carrier.socket, 'close')
      assert.equal(played.garbled.length, 1)
    })

  test('A reader that does not read gives no credit, and at most one window is buffered', async () => {
    await using played = await play()
    const { streams, carrier } = played
    const { stdout } = streams.streams
    stdout.on('data', () => undefined)
    stdout.pause()
    for (let sent = 0; sent < windowBytes.own; sent += 32_768) carrier.data(1, 'y'.repeat(32_768))
    carrier.data(0, 'handle')
    streams.handle.on('data', () => undefined)
    await carrier.until(({ kind, payload }) => kind === 3 && payload.readUInt32LE(0) === 0)
    assert.equal(unreadBytesOf(stdout), windowBytes.own)
    assert.ok(!carrier.seen.some(({ kind, payload }) => kind === 3 && payload[0] === 1))
    stdout.resume()
    await carrier.until(({ kind, payload }) => kind === 3 && payload[0] === 1)
  })

  test('The last frame is answered, and EOF of the socket ends every stream', async () => {
    await using played = await play()
    const { streams, carrier } = played
    const ends = [streams.handle, ...Object.values(streams.streams)].map((one) => collect(one))
    carrier.ends(1, 2, 0).frame(8)
    await carrier.until(({ kind }) => kind === 6)
    carrier.socket.destroy()
    assert.deepEqual(await Promise.all(ends), ['', '', ''])
  })

  test('Connections are accepted once a listener was requested; closing it resets them', async () => {
    await using played = await play()
    const { streams, carrier } = played
    const listener = streams.listen()
    await carrier.until(({ kind }) => kind === 5)
    const accepted = once(listener, 'connection') as Promise<[Duplex]>
    carrier.frame(7, number(16))
    carrier.data(16, 'GET')
    const [connection] = await accepted
    assert.equal(String(await once(connection, 'data')), 'GET')
    connection.end('answer')
    await carrier.until(({ kind, payload }) => kind === 2 && payload.readUInt32LE(0) === 16)
    assert.equal(carrier.bytesOf(16), 6)
    await new Promise<void>((resolve) => void listener.close(() => resolve()))
    carrier.frame(7, number(17))
    await carrier.until(({ kind, payload }) => kind === 4 && payload.readUInt32LE(0) === 17)
    assert.equal(played.garbled.length, 0)
  })

  test('While its carrier is paused nothing is sent; a copy continues from the same positions without the connections', async () => {
    await using played = await play()
    const { streams, carrier } = played
    streams.listen()
    carrier.frame(7, number(16))
    streams.handle.write('before')
    streams.streams.stdout.on('data', () => undefined)
    streams.streams.stderr.pause()
    carrier.data(2, 'unread')
    await carrier.until(({ kind, payload }) => kind === 1 && payload[0] === 0)
    const holding = streams.hold(60_000)
    await carrier.until(({ kind }) => kind === 9)
    const { length } = carrier.seen
    carrier.data(1, 'last')
    carrier.frame(10)
    const from = await holding
    const window = windowBytes.own
    assert.deepEqual(from, {
      handle: { room: window - 6, window, owed: 0, hasEnded: false },
      stdout: { room: window, window: window - 4, owed: 4, hasEnded: false },
      stderr: { room: window, window: window - 6, owed: 6, hasEnded: false },
      lastConnection: 16,
      listens: true,
    })
    streams.handle.write('between')
    await assert.rejects(streams.hold(60_000), { code: 'UNAVAILABLE' })
    await using copied = await play(from)
    copied.streams.handle.write('to the copy')
    assert.deepEqual([carrier.seen.length, copied.carrier.seen.length], [length, 0])
    for (const each of [streams, copied.streams]) each.go()
    await carrier.until(() => carrier.bytesOf(0) === 13 && carrier.creditOf(1) === 4)
    await copied.carrier.until(() => copied.carrier.bytesOf(0) === 11)
    // Bytes that the other had not read were not for the copy.
    await copied.carrier.until(() => copied.carrier.creditOf(2) === 6)
    for (const [each, word] of [
      [carrier, 0],
      [copied.carrier, 1],
    ] as const)
      assert.equal(each.seen.find(({ kind }) => kind === 11)?.payload[0], word)
    copied.carrier.frame(7, number(17))
    await copied.carrier.until(({ kind, payload }) => kind === 4 && payload[0] === 17)
    copied.carrier.frame(7, number(16))
    await once(copied.carrier.socket, 'close')
    assert.equal(copied.garbled.length, 1)
  })

  test('A hold of a carrier that does not answer fails, and its late answer is no protocol error', async () => {
    await using played = await play()
    const { streams, carrier } = played
    await assert.rejects(streams.hold(1), { code: 'UNAVAILABLE' })
    streams.go()
    await carrier.until(({ kind }) => kind === 11)
    carrier.frame(10)
    const again = streams.hold(60_000)
    carrier.frame(10)
    await again
    assert.equal(played.garbled.length, 0)
  })

  test('A hold is refused, not delayed, while input waits for room in the guest', async () => {
    await using played = await play()
    const { streams, carrier } = played
    streams.handle.write(Buffer.alloc(windowBytes.own + 1))
    await carrier.until(() => carrier.bytesOf(0) === windowBytes.own)
    await assert.rejects(streams.hold(60_000), { code: 'BUSY' })
  })

  for (const [title, isPaced, isHeld] of [
    ['no answer', false, false],
    ['no answer on its line', true, false],
    ['no answer while it is held', false, true],
  ] as const)
    test(`A carrier that writes without end and reads ${title} ends its wall`, async () => {
      await using played = await play(undefined, isPaced)
      const { streams, carrier } = played
      streams.streams.stdout.on('data', () => undefined)
      streams.listen()
      await carrier.until(({ kind }) => kind === 5)
      carrier.socket.pause()
      if (isHeld) streams.hold(60_000).catch(() => undefined)
      const frames = Array.from({ length: 100_000 }, (_, at) => encodeFrame(7, number(16 + at)))
      carrier.socket.write(Buffer.concat(frames))
      await until(() => played.garbled.length > 0, 'its end')
      assert.match(played.garbled[0]!, /reads no answer/)
    })

  test('A carrier that opens and resets connections without end, and does not read what they get, ends its wall', async () => {
    await using played = await play()
    const { streams, carrier } = played
    streams
      .listen()
      .on('connection', (to: Duplex) => to.write(Buffer.alloc(windowBytes.connection)))
    await carrier.until(({ kind }) => kind === 5)
    carrier.socket.pause()
    for (let at = 16; at < 1_016; at++) {
      carrier.frame(7, number(at))
      carrier.frame(4, number(at))
    }
    await until(() => played.garbled.length > 0, 'its end')
    assert.match(played.garbled[0]!, /reads no answer/)
  })

  test('An unread byte takes memory by its size, not by that of the chunk that it came in', () => {
    const none = () => undefined
    const carrier = { data: none, end: none, credit: none, closed: none, keep: none }
    const held = { ...carrier, isHeld: () => false } satisfies StreamCarrier
    const stream = new GuestStream(held, 1, windowBytes.own)
    const used = () => (collectGarbage(), process.memoryUsage().arrayBuffers)
    const before = used()
    for (let at = 0; at < 2_000; at++) {
      const chunk = Buffer.alloc(65_536, at % 251)
      stream.receive(chunk.subarray(0, 1))
    }
    const grown = used() - before
    assert.ok(grown < 8 * 2 ** 20, `${grown} bytes`)
    const bytes: number[] = []
    for (let piece = stream.read(); piece; piece = stream.read()) bytes.push(...piece)
    const sent = Array.from({ length: 2_000 }, (_, at) => at % 251)
    assert.deepEqual(bytes, sent)
  })

  test('Single bytes that wait for a reader arrive together, in their order, and the end after them', async () => {
    const none = () => undefined
    const carrier = { data: none, end: none, credit: none, closed: none, keep: none }
    const held = { ...carrier, isHeld: () => false } satisfies StreamCarrier
    const stream = new GuestStream(held, 1, windowBytes.own)
    const sent = Buffer.from(Array.from({ length: windowBytes.own }, (_, at) => at % 251))
    for (let at = 0; at < sent.length; at++) stream.receive(sent.subarray(at, at + 1))
    stream.receiveEnd()
    assert.equal(unreadBytesOf(stream), sent.length)
    const pieces: Buffer[] = []
    stream.on('data', (piece: Buffer) => void pieces.push(piece))
    await once(stream, 'end')
    assert.ok(Buffer.concat(pieces).equals(sent))
    assert.ok(pieces.length <= sent.length / 4_096 + 1, `${pieces.length} pieces`)
    assert.equal(unreadBytesOf(stream), 0)
  })

  const attacks: readonly (readonly [string, (carrier: PlayedCarrier) => void])[] = [
    ['a stream that is not there', (it) => it.data(3, 'x')],
    ['a kind that is not there', (it) => it.frame(99, number(0))],
    ['a connection that was not granted', (it) => it.frame(7, number(16))],
    ['no bytes', (it) => it.frame(1, number(1))],
    [
      'more than its window',
      (it) => {
        for (let sent = 0; sent <= windowBytes.own; sent += 32_768) it.data(1, 'z'.repeat(32_768))
      },
    ],
    [
      'bytes behind an end',
      (it) => {
        it.frame(2, number(1))
        it.data(1, 'x')
      },
    ],
    ['credit for what was not sent', (it) => it.frame(3, Buffer.concat([number(0), number(1)]))],
    ['a reset of the runner', (it) => it.frame(4, number(0))],
    [
      'a frame that is too long',
      (it) => void it.socket.write(Buffer.from([255, 255, 255, 127, 1])),
    ],
    ['a last frame with a payload', (it) => it.ends(0, 1, 2).frame(8, number(0))],
    ['a last frame while the runner has its socket', (it) => it.ends(1, 2).frame(8)],
    ['a last frame while the runner has an output', (it) => it.ends(0, 1).frame(8)],
    ['a word that it is held, unasked', (it) => it.frame(10)],
  ]
  for (const [title, attack] of attacks)
    test(`Attack: ${title} ends the socket, and is reported once`, async () => {
      // Once too: a second one would be an error of its own where the first was taken.
      for (const most of [1, 2]) {
        await using played = await play()
        played.streams.streams.stdout.pause()
        // A reset by the other end is an error beside its close.
        const closed = new Promise((then) => played.carrier.socket.once('close', then))
        for (let times = 0; times < most; times++) attack(played.carrier)
        await closed
        assert.equal(played.garbled.length, 1)
      }
    })
})

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

async function collect(stream: Duplex): Promise<string> {
  const parts: Buffer[] = []
  stream.on('data', (chunk: Buffer) => void parts.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(parts).toString()
}

const noFrame: Frame = { kind: 0, payload: Buffer.alloc(0) }

class PlayedCarrier {
  readonly socket: Socket
  readonly seen: Frame[] = []
  /** Bytes of all frames, whole or in part. */
  received = 0
  readonly #decoder = new FrameDecoder(2 ** 20)
  readonly #waiting = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length
      this.seen.push(...this.#decoder.push(chunk))
      for (const look of this.#waiting) look()
    })
  }

  frame(kind: number, payload: Buffer = Buffer.alloc(0)): void {
    this.socket.write(encodeFrame(kind, payload))
  }

  ends(...streams: readonly number[]): this {
    for (const stream of streams) this.frame(2, number(stream))
    return this
  }

  data(stream: number, text: string): void {
    this.frame(1, Buffer.concat([number(stream), Buffer.from(text)]))
  }

  bytesOf(stream: number): number {
    const own = this.seen.filter(({ kind, payload }) => kind === 1 && payload[0] === stream)
    return own.reduce((sum, { payload }) => sum + payload.length - 4, 0)
  }

  creditOf(stream: number): number {
    const own = this.seen.filter(({ kind, payload }) => kind === 3 && payload[0] === stream)
    return own.reduce((sum, { payload }) => sum + payload.readUInt32LE(4), 0)
  }

  /** Resolves once a frame fits, or a condition without a frame holds. */
  async until(fits: (frame: Frame) => boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        if ((this.seen.length > 0 ? this.seen : [noFrame]).some(fits)) resolve()
      }
      this.#waiting.add(look)
      this.socket.once('close', () => reject(new Error('the socket ended')))
      look()
    })
  }
}

async function play(from?: StreamPositions, isPaced = false) {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-streams-'))
  const server: Server = createServer().listen(path.join(folder, 'socket'))
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const theirs = connect(path.join(folder, 'socket'))
  const [ours] = await accepted
  const garbled: string[] = []
  const streams = new GuestStreams(ours, {
    garbled: (detail) => void garbled.push(detail),
    isPaced,
    ...(from && { from }),
  })
  return {
    streams,
    carrier: new PlayedCarrier(theirs),
    garbled,
    async [Symbol.asyncDispose]() {
      ours.destroy()
      theirs.destroy()
      await new Promise<void>((resolve) => void server.close(() => resolve()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
