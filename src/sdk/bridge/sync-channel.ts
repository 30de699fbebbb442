/**
 * Synchronous calls on a separate pipe.
 *
 * Problem: some members of the API return no promise, and the event loop cannot answer while one of them runs. Mechanism: the
 * other process responds on a second pipe, which is read and written here by direct system calls; libuv has it in
 * non-blocking mode, so a read without data is EAGAIN, and the thread sleeps in Atomics.wait between retries.
 *
 * Relies on the fd of a pipe of child_process (`_handle.fd`), which is undocumented and exists on POSIX. Only old Nodes
 * without further development use this code. On Windows such a call is an error.
 */
import { readSync, writeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { MayflyError } from '../../contract/error.ts'
import { FrameDecoder, type Frame } from '../../lib/frames.ts'
import { messageBytesMax } from './peer.ts'

const ANSWER_MS_MAX = 30_000
const NAP_MS_MIN = 0.05
const NAP_MS_MAX = 2
const CHUNK_BYTES = 65_536

export class SyncChannel {
  readonly #fd: number
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4))
  readonly #chunk = Buffer.alloc(CHUNK_BYTES)
  #isBroken = false

  /** Throws MayflyError UNAVAILABLE if the pipe has no fd. */
  constructor(pipe: Duplex) {
    const { fd = -1 } = (pipe as { readonly _handle?: { readonly fd?: number } })._handle ?? {}
    if (fd < 0)
      throw new MayflyError('UNAVAILABLE', 'Cannot make synchronous calls on this system', {
        hint: 'Use Node 26, where jobs run in the application',
      })
    this.#fd = fd
  }

  /** Sends a frame and returns its response. Throws MayflyError WARDEN_LOST without a response. */
  ask(frame: Buffer): Frame {
    if (this.#isBroken) throw lost('an earlier answer did not come')
    // After a timeout the channel stays broken: a late response would be mistaken for that of the next call.
    this.#isBroken = true
    const until = performance.now() + ANSWER_MS_MAX
    for (let at = 0; at < frame.length;)
      at += this.#try(() => writeSync(this.#fd, frame, at, frame.length - at), until)
    const decoder = new FrameDecoder(messageBytesMax)
    for (;;) {
      const length = this.#try(() => readSync(this.#fd, this.#chunk, 0, CHUNK_BYTES, null), until)
      if (length === 0) throw lost('it ended')
      for (const answer of decoder.push(Buffer.from(this.#chunk.subarray(0, length)))) {
        this.#isBroken = false
        return answer
      }
    }
  }

  /** Retries a system call until the pipe is ready (EAGAIN). */
  #try(work: () => number, until: number): number {
    for (let nap = NAP_MS_MIN; ; nap = Math.min(2 * nap, NAP_MS_MAX)) {
      try {
        return work()
      } catch (thrown) {
        const { code } = thrown as NodeJS.ErrnoException
        if (code !== 'EAGAIN') throw lost(String(code))
      }
      if (performance.now() > until) throw lost(`no answer came within ${ANSWER_MS_MAX} ms`)
      Atomics.wait(this.#sleeper, 0, 0, nap)
    }
  }
}

function lost(why: string): MayflyError {
  return new MayflyError('WARDEN_LOST', `Cannot reach the Mayfly process: ${why}`)
}
