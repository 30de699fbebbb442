/**
 * Frames on the guest's side of a wall: 4 bytes of length (little endian, of everything after it), 1 byte of
 * kind, then the payload. Counterpart of src/lib/frames.ts; a guest shares no code with the host.
 */

/**
 * Calls back for each frame. An empty frame, or one over the bound, ends the stream.
 * @param {import('node:stream').Readable} stream
 * @param {(kind: number, payload: Buffer) => void} onFrame
 * @param {number} payloadBytesMax
 */
export function readFrames(stream, onFrame, payloadBytesMax) {
  /** @type {Buffer[]} */
  let chunks = []
  let held = 0
  stream.on('data', (/** @type {Buffer} */ chunk) => {
    chunks.push(chunk)
    held += chunk.length
    while (held >= 4) {
      if (chunks[0].length < 4) chunks = [Buffer.concat(chunks)]
      const length = chunks[0].readUInt32LE(0)
      if (length < 1 || length > payloadBytesMax + 1) return void stream.destroy()
      if (held < 4 + length) return
      if (chunks[0].length < 4 + length) chunks = [Buffer.concat(chunks)]
      const frame = chunks[0].subarray(0, 4 + length)
      chunks[0] = chunks[0].subarray(4 + length)
      if (chunks[0].length === 0) chunks.shift()
      held -= 4 + length
      onFrame(frame[4], frame.subarray(5))
    }
  })
}

/**
 * @param {import('node:stream').Writable} stream
 * @param {number} kind
 * @param {string} text
 */
export function writeFrame(stream, kind, text) {
  const bytes = Buffer.byteLength(text)
  const frame = Buffer.allocUnsafe(5 + bytes)
  frame.writeUInt32LE(bytes + 1, 0)
  frame[4] = kind
  frame.write(text, 5)
  stream.write(frame)
}
