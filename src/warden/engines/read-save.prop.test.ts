import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import * as fc from 'fast-check'
import { saveBlockBytes, saveKinds } from '../../contract/machine-save.ts'
import { encodeFrame } from '../../lib/frames.ts'
import { sendSave } from '../../walls/send-save.ts'
import { readSave } from './read-save.ts'
import { nodeSocketPair } from './socket-pair.ts'

const BLOCKS = 24
const memoryBytes = BLOCKS * saveBlockBytes
const folder = mkdtempSync(join(tmpdir(), 'mayfly-read-save-'))
after(() => rmSync(folder, { recursive: true }))

test('A save that is sent is read whole, holes of its memory included', async () => {
  const block = fc.constantFrom(0, 1, 2)
  await fc.assert(
    fc.asyncProperty(fc.array(block, { minLength: BLOCKS, maxLength: BLOCKS }), async (kinds) => {
      const memory = Buffer.concat(kinds.map((kind) => Buffer.alloc(saveBlockBytes, kind)))
      const devices = Buffer.from('devices')
      const save = await received(async (socket) => {
        await sendSave(socket, { memory: inChunks(memory), devices: inChunks(devices) })
      })
      assert.deepEqual(save, { memory, devices })
    }),
    { numRuns: 20 },
  )
})

test('Any frames are a save within its bounds, or an error', async () => {
  const kind = fc.integer({ min: 0, max: 4 })
  const first = fc.integer({ min: 0, max: BLOCKS + 2 })
  const frame = fc.tuple(kind, first, fc.integer({ min: 0, max: 3 * saveBlockBytes }))
  const good: [number, number, number][] = [
    [saveKinds.devices, 0, 9],
    [saveKinds.memory, BLOCKS - 1, 4 + saveBlockBytes],
    [saveKinds.end, 0, 0],
  ]
  assert.ok(isGood(good))
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 8 }), async (frames) => {
      const bytes = frames.map(([of, at, length]) => encodeFrame(of, payloadOf(of, at, length)))
      const save = await received((socket) => void socket.end(Buffer.concat(bytes))).catch(
        (error: unknown) => error,
      )
      assert.equal(save instanceof Error, !isGood(frames), String(save))
      if (save instanceof Error) assert.match(save.message, /^Cannot read the save of a machine: /)
      else assert.equal((save as { memory: Buffer }).memory.length, memoryBytes)
    }),
    // Random frames alone may all be refused, and none of them for its place.
    { numRuns: 62, examples: [[good], [good.with(1, [saveKinds.memory, BLOCKS, 5])]] },
  )
})

test('A save that does not come is given up', async () => {
  await assert.rejects(
    received(() => undefined, 20),
    { code: 'PROTOCOL', message: /it is late/ },
  )
})

type FrameParts = readonly [kind: number, first: number, length: number]

function payloadOf(kind: number, first: number, length: number): Buffer {
  const payload = Buffer.alloc(kind === saveKinds.end ? 0 : length, 1)
  if (kind === saveKinds.memory && length >= 4) payload.writeUInt32LE(first)
  return payload
}

/** Frames up to the first end, by the documented rules. */
function isGood(frames: readonly FrameParts[]): boolean {
  let next = 0
  let devices = 0
  for (const [kind, first, length] of frames) {
    if (kind === saveKinds.end) return devices > 0
    if (kind === saveKinds.devices) devices += length
    else if (kind !== saveKinds.memory || length <= 4) return false
    else {
      const at = first * saveBlockBytes
      if (at < next || at + length - 4 > memoryBytes) return false
      next = at + length - 4
    }
  }
  return false
}

async function* inChunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  const chunk = 16 * saveBlockBytes
  for (let at = 0; at < bytes.length; at += chunk) yield bytes.subarray(at, at + chunk)
}

/** Both files that are read from what `send` writes. */
async function received(send: (socket: Socket) => Promise<void> | void, msMax?: number) {
  const { own, theirs } = nodeSocketPair()
  theirs.on('error', () => undefined)
  const places = ['memory', 'devices'].map((name) => join(folder, name))
  const [memory, devices] = await Promise.all(places.map((place) => open(place, 'w+')))
  try {
    await memory!.truncate(memoryBytes)
    const sent = Promise.resolve(send(theirs)).catch(() => undefined)
    await readSave(own, { memory: memory!, devices: devices!, memoryBytes }, msMax)
    await sent
    return { memory: readFileSync(places[0]!), devices: readFileSync(places[1]!) }
  } finally {
    for (const socket of [own, theirs]) socket.destroy()
    await Promise.all([memory!.close(), devices!.close()])
  }
}
