import type { Socket } from 'node:net'
import { encodeFrame, FrameDecoder } from '../src/lib/frames.ts'
import { kind } from '../src/walls/wire.ts'

/**
 * A job of a parked runner in a machine, by the server's two wires at their barest: frames of the carrier
 * (guest/carrier/wire.h), and those of the runner in its first stream.
 */
const DATA = 1
const HANDLE = 0
const PAYLOAD_BYTES_MAX = 2 ** 20
const JOB_MS_MAX = 120_000

/** Resolves with the text of the result. Rejects if none arrives in time. */
export async function runMachineJob(
  socket: Socket,
  language: 'node' | 'python',
  code: string,
  input: unknown,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const carried = new FrameDecoder(PAYLOAD_BYTES_MAX)
  const frames = new FrameDecoder(PAYLOAD_BYTES_MAX)
  const late = setTimeout(() => reject(new Error('No result came in time')), JOB_MS_MAX)
  socket.on('close', () => reject(new Error('The machine ended')))
  socket.on('data', (chunk: Buffer) => {
    for (const { kind: type, payload } of carried.push(chunk)) {
      if (type !== DATA || payload.readUInt32LE(0) !== HANDLE) continue
      for (const frame of frames.push(payload.subarray(4)))
        if (frame.kind === kind.end) resolve(frame.payload.toString())
    }
  })
  const task = JSON.stringify(taskOf(language, code, input))
  const stream = Buffer.alloc(4)
  stream.writeUInt32LE(HANDLE)
  socket.write(encodeFrame(DATA, Buffer.concat([stream, encodeFrame(kind.run, task)])))
  try {
    const end = await promise
    return end.slice(end.indexOf('\n') + 1)
  } finally {
    clearTimeout(late)
  }
}

function taskOf(language: 'node' | 'python', code: string, input: unknown) {
  return {
    protocol: 1,
    language,
    entry: language === 'node' ? 'module' : 'function',
    code,
    inputText: JSON.stringify(input),
    files: [],
    capabilities: [],
    env: {},
    timeoutMs: 60_000,
    outputBytesMax: 2 ** 20,
    resultBytesMax: 2 ** 20,
    artifactBytesMax: 2 ** 20,
    processes: 64,
    network: false,
  }
}
