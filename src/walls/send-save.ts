import type { Socket } from 'node:net'
import { saveBlockBytes, saveKinds, savePieceBytesMax } from '../contract/machine-save.ts'
import { encodeFrame } from '../lib/frames.ts'
import { nonZeroRanges } from '../lib/sparse.ts'

/** Bytes of a save, whose readers throw where a digest does not match. */
export interface SaveBytes {
  /** All memory, in chunks of whole blocks. */
  readonly memory: AsyncIterable<Uint8Array>
  readonly devices: AsyncIterable<Uint8Array>
}

/** Sends a save with back-pressure; its end only after the last byte was verified. Rejects if the receiver is gone. */
export async function sendSave(socket: Socket, { memory, devices }: SaveBytes): Promise<void> {
  const send = async (frame: Buffer) => {
    if (socket.destroyed) throw new Error('the receiver of a save is gone')
    if (!socket.write(frame)) await drained(socket)
  }
  for await (const chunk of devices)
    for (const piece of inPieces(chunk)) await send(encodeFrame(saveKinds.devices, piece))
  let start = 0
  for await (const chunk of memory) {
    for (const { at, bytes } of nonZeroRanges(chunk))
      for (const [index, piece] of [...inPieces(bytes)].entries())
        await send(memoryFrame(start + at + index * savePieceBytesMax, piece))
    start += chunk.length
  }
  await send(encodeFrame(saveKinds.end, ''))
}

/** Resolves once the socket takes more, or is closed. */
function drained(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = () => {
    socket.off('drain', done).off('close', done)
    resolve()
  }
  socket.on('drain', done).on('close', done)
  return promise
}

function memoryFrame(at: number, bytes: Uint8Array): Buffer {
  const first = Buffer.alloc(4)
  first.writeUInt32LE(at / saveBlockBytes)
  return encodeFrame(saveKinds.memory, Buffer.concat([first, bytes]))
}

function* inPieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += savePieceBytesMax)
    yield bytes.subarray(at, at + savePieceBytesMax)
}
