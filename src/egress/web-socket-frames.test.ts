import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameReader, frameOf, type FramePart } from './web-socket-frames.ts'

function masked(opcode: number, isFinal: boolean, payload: Buffer): Buffer {
  const mask = Buffer.from([7, 0, 255, 9])
  const plain = frameOf(opcode, isFinal, payload)
  const head = plain.subarray(0, plain.length - payload.length)
  head[1]! |= 0x80
  return Buffer.concat([head, mask, payload.map((byte, at) => byte ^ mask[at % 4]!)])
}

/** Parts read from input in pieces of one size. */
function read(reader: FrameReader, bytes: Buffer, size: number): readonly FramePart[] {
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  )
  return pieces.flatMap((piece) => reader.push(piece))
}

const frames = [
  [1, false, Buffer.from('a message')],
  [9, true, Buffer.from('ping')],
  [0, true, Buffer.alloc(300, 'x')],
  [2, true, Buffer.alloc(70_000, 'y')],
  [1, true, Buffer.alloc(0)],
  [8, true, Buffer.from([3, 232])],
] as const

for (const size of [1, 2, 3, 13, 126, 70_000])
  test(`Frames are read from pieces of ${size} bytes, with and without a mask`, () => {
    for (const [from, write] of [
      ['client', masked],
      ['server', frameOf],
    ] as const) {
      const bytes = Buffer.concat(
        frames.map(([opcode, isFinal, payload]) => write(opcode, isFinal, payload)),
      )
      const parts = read(new FrameReader(from), bytes, size)
      const ends = parts.filter(({ isLast }) => isLast)
      assert.deepEqual(
        ends.map(({ opcode, isFinal }) => [opcode, isFinal]),
        frames.map(([opcode, isFinal]) => [opcode, isFinal]),
      )
      const said = Buffer.concat(parts.map(({ payload }) => payload))
      assert.ok(said.equals(Buffer.concat(frames.map(([, , payload]) => payload))))
    }
  })

test('Invalid frames, extensions, wrong masks and long control frames are refused', () => {
  const long = Buffer.alloc(8, 255)
  for (const bytes of [
    Buffer.from('SSH-2.0-x\r\n'),
    Buffer.from([0xc1, 0x00]),
    Buffer.from([0x83, 0x00]),
    frameOf(1, true, Buffer.from('x')),
    masked(9, false, Buffer.from('x')),
    masked(9, true, Buffer.alloc(126)),
    Buffer.concat([Buffer.from([0x82, 0xff]), long, Buffer.alloc(4)]),
  ])
    assert.throws(() => new FrameReader('client').push(bytes), RangeError, bytes.toString('hex'))
  assert.throws(() => new FrameReader('server').push(masked(1, true, Buffer.from('x'))), RangeError)
})
