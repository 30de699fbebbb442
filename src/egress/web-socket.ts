import type { Duplex } from 'node:stream'
import type { SecretScan } from './credentials.ts'
import { FrameReader, frameOf, isControl, type FramePart } from './web-socket-frames.ts'
import { copyStream } from './streams.ts'
import { cutOnParseError, type ConnectionMonitor } from './connection-monitor.ts'

/**
 * Relays an open WebSocket until both directions have ended.
 *
 * Guest to server: frames are parsed for the leak check, because masking would hide a planted secret, and forwarded
 * unchanged. Server to guest: if a credential must not be echoed, frames are rewritten, because frame boundaries
 * could split it. Bounded by the connection's byte budget, idle time and lifetime. Not handled: extensions, which are
 * stripped from the request.
 */
export async function relayWebSocket(
  client: Duplex,
  server: Duplex,
  scan: SecretScan,
  watch: ConnectionMonitor,
): Promise<void> {
  const said = new FrameReader('client')
  const out = async (chunk: Buffer) => {
    const may = await watch.parse(() =>
      said.push(chunk).every(({ payload }) => watch.passes(payload)),
    )
    return may && watch.sending(chunk.length) ? chunk : undefined
  }
  const back = new ServerFrameFilter(scan, watch)
  const into = async (chunk: Buffer) =>
    watch.received() ? await watch.parse(() => back.push(chunk)) : undefined
  await Promise.all([
    cutOnParseError(watch, 'its WebSocket', () => copyStream(client, server, out)),
    cutOnParseError(watch, 'its WebSocket', () => copyStream(server, client, into)),
  ])
}

/** Filter for server frames; holds back a possible start of a secret within its message. */
class ServerFrameFilter {
  readonly #reader = new FrameReader('server')
  readonly #scan: SecretScan
  readonly #watch: ConnectionMonitor
  /** Opcode of the message in progress; 0 once a part of it was forwarded. */
  #opcode = 0
  #control = Buffer.alloc(0)

  constructor(scan: SecretScan, watch: ConnectionMonitor) {
    this.#scan = scan
    this.#watch = watch
  }

  /** Bytes to forward; undefined after a cut. */
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
    const may = this.#scan.filter(payload)
    if (!may) return undefined
    const isEnd = isFinal && isLast
    const own = isEnd ? Buffer.concat([may, this.#scan.flush()]) : may
    if (own.length === 0 && !isEnd) return own
    const as = this.#opcode
    this.#opcode = 0
    return frameOf(as, isEnd, own)
  }

  /** Control frame: at most 125 bytes, buffered whole and scanned on its own, since it may interrupt a message. */
  #aboutIt({ opcode, payload, isLast }: FramePart): Buffer | undefined {
    this.#control = Buffer.concat([this.#control, payload])
    if (!isLast) return Buffer.alloc(0)
    const whole = this.#control
    this.#control = Buffer.alloc(0)
    return this.#scan.isIn(whole) ? undefined : frameOf(opcode, true, whole)
  }
}
