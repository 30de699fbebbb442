import type { Duplex } from 'node:stream'
import type { SecretScan } from './credentials.ts'
import { FrameReader, frameOf, isControl, type FramePart } from './frames.ts'
import { pass } from './streams.ts'
import { cutUnread, type Watch } from './watch.ts'

/**
 * A WebSocket that is open, until both ways have ended. What the guest says is passed on as it is, once its frames could
 * be read: their masks would hide a planted secret. What the server says is written anew where it must not repeat a
 * credential: frames part a message wherever they like.
 */
export async function talk(
  client: Duplex,
  server: Duplex,
  scan: SecretScan,
  watch: Watch,
): Promise<void> {
  const said = new FrameReader('client')
  const out = (chunk: Buffer) => {
    const may = said.push(chunk).every(({ payload }) => watch.passes(payload))
    return may && watch.sending(chunk.length) ? chunk : undefined
  }
  const back = new Back(scan, watch)
  const into = (chunk: Buffer) => (watch.received() ? back.push(chunk) : undefined)
  await Promise.all([
    cutUnread(watch, 'its WebSocket', () => pass(client, server, out)),
    cutUnread(watch, 'its WebSocket', () => pass(server, client, into)),
  ])
}

/** What a server says, held back where it may become a secret within its message. */
class Back {
  readonly #reader = new FrameReader('server')
  readonly #scan: SecretScan
  readonly #watch: Watch
  /** Of the message under way: 0 once a part of it was passed on. */
  #opcode = 0
  #control = Buffer.alloc(0)

  constructor(scan: SecretScan, watch: Watch) {
    this.#scan = scan
    this.#watch = watch
  }

  /** What may be passed on; undefined where it was cut. */
  push(chunk: Buffer): Buffer | undefined {
    if (!this.#scan.isNeeded) return chunk
    const frames = this.#reader.push(chunk).map((part) => this.#frame(part))
    if (!frames.includes(undefined)) return Buffer.concat(frames as Buffer[])
    this.#watch.cut('its answer repeats a secret')
    return undefined
  }

  #frame(part: FramePart): Buffer | undefined {
    return isControl(part) ? this.#aboutIt(part) : this.#ofMessage(part)
  }

  #ofMessage({ opcode, isFinal, payload, isLast }: FramePart): Buffer | undefined {
    if (opcode !== 0) this.#opcode = opcode
    const may = this.#scan.pass(payload)
    if (!may) return undefined
    const isEnd = isFinal && isLast
    const own = isEnd ? Buffer.concat([may, this.#scan.rest()]) : may
    if (own.length === 0 && !isEnd) return own
    const as = this.#opcode
    this.#opcode = 0
    return frameOf(as, isEnd, own)
  }

  /** Never more than 125 bytes, and with a scan of its own: it stands within a message and is none of it. */
  #aboutIt({ opcode, payload, isLast }: FramePart): Buffer | undefined {
    this.#control = Buffer.concat([this.#control, payload])
    if (!isLast) return Buffer.alloc(0)
    const whole = this.#control
    this.#control = Buffer.alloc(0)
    return this.#scan.alone().finds(whole) ? undefined : frameOf(opcode, true, whole)
  }
}
