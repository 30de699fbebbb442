import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

/** One of the streams of a program: raw bytes on a socket of their own, held back by the kernel when nobody takes them. */
export interface ProgramStream {
  /** Resolves when all that was written before now has been taken, or none of it may be any more. */
  drained(): Promise<void>
  /** Whoever reads has had its time: nothing is waited for any longer. */
  giveUp(): void
  close(): void
  /** What was read here and not yet taken. */
  readonly heldBytes: number
}

const CHUNK_BYTES_MAX = 65_536
/** What goes on after the limit is read and thrown away, so that a program that writes a little more may end well. */
const BEYOND_BYTES_MAX = 8 * 2 ** 20
/** What one may write in one go, and then each millisecond: whoever reads it reads for all walls. */
export const paceOf = { burst: 8 * 2 ** 20, eachMs: (4 * 2 ** 20) / 1000, restMs: 50 } as const

export interface StreamOptions {
  readonly socket: Socket
  readonly bytesMax: number
  take(chunk: Uint8Array): void | Promise<void>
  /** Told once, when it goes on for far too long. */
  flooded(): void
}

export function readStream({ socket, bytesMax, take, flooded }: StreamOptions): ProgramStream {
  let bytes = 0
  let holding: Promise<void> | undefined
  let heldBytes = 0
  let room: number = paceOf.burst
  let roomAt = performance.now()
  let resting: NodeJS.Timeout | undefined
  /** Its end is awaited: what is left is no flood. */
  let isEnding = false
  let isGivenUp = false
  const givenUp = Promise.withResolvers<void>()
  const isOver = () => isGivenUp || socket.destroyed || socket.readableEnded
  socket.on('error', () => socket.destroy())
  socket.on('data', (data: Buffer) => {
    const before = bytes
    bytes += data.length
    if (bytes > bytesMax + BEYOND_BYTES_MAX) flooded()
    // A byte more than may leave: the gate, which cuts, then sees that there was more.
    const kept = data.subarray(0, Math.max(0, bytesMax + 1 - before))
    if (kept.length > 0) hold(passOn(kept), kept.length)
    if (!isEnding) pace(data.length)
  })

  /** Whoever wrote more than its share is not read for as long as it takes to be within it. */
  function pace(written: number): void {
    const now = performance.now()
    room = Math.min(paceOf.burst, room + (now - roomAt) * paceOf.eachMs) - written
    roomAt = now
    if (room >= 0) return
    socket.pause()
    resting ??= setTimeout(rested, Math.max(paceOf.restMs, Math.ceil(-room / paceOf.eachMs)))
  }

  function rested(): void {
    clearTimeout(resting)
    resting = undefined
    if (!holding) socket.resume()
  }

  function passOn(data: Buffer): void | Promise<void> {
    if (data.length <= CHUNK_BYTES_MAX) return take(data)
    return (async () => {
      for (let at = 0; at < data.length; at += CHUNK_BYTES_MAX)
        await take(data.subarray(at, at + CHUNK_BYTES_MAX))
    })()
  }

  function hold(took: void | Promise<void>, size: number): void {
    if (!took) return
    heldBytes = size
    socket.pause()
    holding = took.then(goOn, goOn)
  }

  function goOn(): void {
    holding = undefined
    heldBytes = 0
    if (!resting) socket.resume()
  }

  return {
    async drained() {
      isEnding = true
      if (resting) rested()
      // A whole poll of the event loop lies between two turns: what was written is seen by then.
      for (let quiet = 0; quiet < 2 && !isOver();) {
        const before = bytes
        await Promise.race([holding, givenUp.promise])
        await turn()
        quiet = bytes === before && !holding ? quiet + 1 : 0
      }
      await Promise.race([holding, givenUp.promise])
    },
    giveUp() {
      isGivenUp = true
      givenUp.resolve()
    },
    close() {
      clearTimeout(resting)
      socket.destroy()
    },
    get heldBytes() {
      return heldBytes + socket.readableLength
    },
  }
}
