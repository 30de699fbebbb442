import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import { readFrames } from '../../guest/frames.js'
import { encodeFrame, FrameDecoder } from '../../src/lib/frames.ts'
import { fuzz, mutated, type Seeded } from './seeded.ts'

const payloadBytesMax = 64
const samples = [
  ['', 'a', '{"id":1}'],
  ['x'.repeat(payloadBytesMax), ''],
  Array.from({ length: 9 }, (_, n) => 'é'.repeat(n)),
].map((texts) => Buffer.concat(texts.map((text, kind) => encodeFrame(kind * 31, text))))

test('Host and guest split any bytes, in any chunks, into the same frames, and fail at the same position', (t) => {
  fuzz(t, {
    cases: 50_000,
    long: 1_000_000,
    attempt(random) {
      const chunks = chunksOf(random, mutated(random, samples))
      const [host, guest] = [byHost(chunks), byGuest(chunks)]
      assert.deepEqual(guest, host)
      assert.equal(host.isLost, expected(Buffer.concat(chunks)).isLost)
      assert.deepEqual(host.frames, expected(Buffer.concat(chunks)).frames)
    },
  })
})

interface Cut {
  readonly frames: string[]
  readonly isLost: boolean
}

function chunksOf(random: Seeded, bytes: Buffer): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const length = random.below(random.pick([2, 7, 300]))
    chunks.push(bytes.subarray(at, at + length))
    at += length
  }
  return chunks
}

const written = (kind: number, payload: Buffer): string => `${kind} ${payload.toString('hex')}`

/** Reference decoder, on the whole input. */
function expected(bytes: Buffer): Cut {
  const frames: string[] = []
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt32LE(at)
    if (length < 1 || length > payloadBytesMax + 1) return { frames, isLost: true }
    if (at + 4 + length > bytes.length) break
    frames.push(written(bytes[at + 4]!, bytes.subarray(at + 5, at + 4 + length)))
    at += 4 + length
  }
  return { frames, isLost: false }
}

function byHost(chunks: readonly Buffer[]): Cut {
  const decoder = new FrameDecoder(payloadBytesMax)
  const frames: string[] = []
  try {
    for (const chunk of chunks)
      for (const { kind, payload } of decoder.push(chunk)) frames.push(written(kind, payload))
  } catch (thrown) {
    assert.ok(thrown instanceof RangeError && thrown.message.startsWith('Cannot read a frame'))
    return { frames, isLost: true }
  }
  return { frames, isLost: false }
}

function byGuest(chunks: readonly Buffer[]): Cut {
  const frames: string[] = []
  let isLost = false
  const destroy = () => {
    isLost = true
  }
  const stream = Object.assign(new EventEmitter(), { destroy })
  readFrames(
    stream as unknown as Readable,
    (kind, payload) => void frames.push(written(kind, payload)),
    payloadBytesMax,
  )
  for (const chunk of chunks) if (!isLost) stream.emit('data', chunk)
  return { frames, isLost }
}
