import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { OutputListener } from '../../contract/pipeline.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../lib/frames.ts'
import type { PlannedRun, ServerFacts } from './client.ts'
import type { ServerRecord } from './place.ts'
import {
  framesOfText,
  helloBytesMax,
  isProof,
  kinds,
  nonceBytes,
  partBytesMax,
  proofOf,
  protocol,
  requestBytesMax,
  TextParts,
  type Nonces,
} from './wire.ts'

/** Time of a caller to prove itself. */
const PROOF_MS_MAX = 5_000
/** Time of a caller to read its answer once the server ends; one that is stopped, or piped into a pager, reads nothing. */
const READ_MS_MAX = 2_000
/** Characters of one frame of output: at most three bytes each. */
const TEXT_CHARACTERS_MAX = 2 ** 18
/** Jobs that never ran, and that the command can run by itself. */
const declined: ReadonlySet<string> = new Set(['OVERLOADED', 'DRAINING'])

export interface LocalCaller {
  readonly signal: AbortSignal
  readonly tap: OutputListener
  readonly planned: (planned: PlannedRun) => void
  readonly on: (entry: TimelineEntry) => void
}

export interface LocalClientParts {
  readonly record: ServerRecord
  readonly isOpen: () => boolean
  readonly facts: () => ServerFacts
  readonly stop: () => void
  /** Runs a job as it was sent; throws as the pipeline does. */
  readonly run: (text: string, caller: LocalCaller) => Promise<Outcome>
}

/**
 * Connection of a caller: hello, proof, then one job or one order. Anything else, in any other order, of another length
 * or after the end, closes the connection without an answer.
 */
export class LocalClient {
  readonly #socket: Socket
  readonly #parts: LocalClientParts
  readonly #decoder = new FrameDecoder(helloBytesMax)
  readonly #request = new TextParts(requestBytesMax)
  readonly #cancelled = new AbortController()
  readonly #gone = Promise.withResolvers<boolean>()
  #state: 'hello' | 'proof' | 'ready' | 'running' | 'over' = 'hello'
  #nonces: Nonces | undefined
  #hasRun = false

  constructor(socket: Socket, parts: LocalClientParts) {
    this.#socket = socket
    this.#parts = parts
    socket.setTimeout(PROOF_MS_MAX, () => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('close', () => {
      this.cancel()
      if (!this.isRunning) this.#gone.resolve(this.#hasRun)
    })
  }

  /** Resolves when the connection is closed and its job has ended, with whether there was one. */
  get gone(): Promise<boolean> {
    return this.#gone.promise
  }

  get isRunning(): boolean {
    return this.#state === 'running'
  }

  cancel(): void {
    this.#cancelled.abort()
  }

  /** Closes a connection without a job. */
  leaveIdle(): void {
    if (!this.isRunning && this.#state !== 'over') this.#socket.destroy()
  }

  /** Ends with or without its caller: a server that waits for its reader could not be stopped. */
  async end(): Promise<void> {
    this.cancel()
    if (!this.isRunning) this.#socket.destroySoon()
    const late = setTimeout(() => this.#socket.destroy(), READ_MS_MAX)
    await this.#gone.promise
    clearTimeout(late)
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#hear(frame)
    } catch {
      this.#socket.destroy()
    }
  }

  /** Throws for a frame that has no place here. */
  #hear({ kind, payload }: Frame): void {
    const { isOpen, facts, stop } = this.#parts
    if (this.#state === 'hello' && kind === kinds.hello) return this.#challenge(payload)
    if (this.#state === 'proof' && kind === kinds.proof) return this.#prove(payload)
    if (this.#state === 'ready' && kind === kinds.part) return this.#request.push(payload)
    if (payload.length > 0) throw new RangeError(`Cannot take a payload with kind ${kind}`)
    if (this.#state === 'ready' && kind === kinds.run && isOpen()) return void this.#run()
    if (this.#state === 'ready' && kind === kinds.run) return this.#decline()
    // A cancellation may cross the end of its job.
    if ((this.isRunning || this.#state === 'over') && kind === kinds.cancel) return this.cancel()
    if (this.#state === 'ready' && kind === kinds.status)
      return void this.#socket.write(encodeFrame(kinds.facts, JSON.stringify(facts())))
    if (this.#state === 'ready' && kind === kinds.stop) {
      this.#state = 'over'
      return stop()
    }
    throw new RangeError(`Cannot take kind ${kind} now`)
  }

  #challenge(hello: Buffer): void {
    if (hello.length !== helloBytesMax || hello[0] !== protocol)
      throw new RangeError('Cannot read the hello')
    const { name, secret } = this.#parts.record
    const nonces = { client: Buffer.from(hello.subarray(1)), server: randomBytes(nonceBytes) }
    const proof = proofOf(secret, 'server', name, nonces)
    this.#nonces = nonces
    this.#state = 'proof'
    this.#socket.write(encodeFrame(kinds.challenge, Buffer.concat([nonces.server, proof])))
  }

  #prove(proof: Buffer): void {
    const { name, secret } = this.#parts.record
    if (!isProof(proof, proofOf(secret, 'client', name, this.#nonces!)))
      throw new RangeError('Cannot take the proof')
    // The server may have another configuration by now, or be ending.
    if (!this.#parts.isOpen()) throw new RangeError('Cannot take a job now')
    this.#state = 'ready'
    this.#socket.setTimeout(0)
    this.#decoder.bound(partBytesMax)
    this.#socket.write(encodeFrame(kinds.ready, ''))
  }

  #decline(): void {
    this.#state = 'over'
    this.#socket.end(encodeFrame(kinds.declined, ''))
  }

  async #run(): Promise<void> {
    this.#state = 'running'
    try {
      const text = this.#request.take()
      const outcome = await this.#parts.run(text, this.#caller())
      this.#hasRun = true
      await this.#send(JSON.stringify(outcome), kinds.outcome)
    } catch (thrown) {
      const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
      if (declined.has(code)) this.#decline()
      else await this.#send(refusalOf(thrown), kinds.refused)
    } finally {
      this.#state = 'over'
      this.#socket.end()
      if (this.#socket.destroyed) this.#gone.resolve(this.#hasRun)
    }
  }

  #caller(): LocalCaller {
    return {
      signal: this.#cancelled.signal,
      tap: async (stream, text) => {
        for (const piece of piecesOf(text)) await this.#write(encodeFrame(kinds[stream], piece))
      },
      planned: (planned) => {
        for (const frame of framesOfText(JSON.stringify(planned), kinds.answerPart, kinds.planned))
          this.#socket.write(frame)
      },
      on: (entry) => {
        const frame = encodeFrame(kinds.entry, JSON.stringify(entry))
        if (frame.length <= partBytesMax) this.#socket.write(frame)
      },
    }
  }

  async #send(text: string, end: number): Promise<void> {
    for (const frame of framesOfText(text, kinds.answerPart, end)) await this.#write(frame)
  }

  /** Waits for a caller that reads slowly; not for one that is gone. */
  async #write(frame: Buffer): Promise<void> {
    const socket = this.#socket
    if (socket.destroyed || socket.write(frame)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const events = ['drain', 'close'] as const
    const heard = () => resolve()
    for (const event of events) socket.once(event, heard)
    await promise
    for (const event of events) socket.off(event, heard)
  }
}

function refusalOf(thrown: unknown): string {
  const { code, hint, details } =
    thrown instanceof MayflyError
      ? thrown
      : { code: 'INTERNAL', hint: undefined, details: undefined }
  return JSON.stringify({ code, message: messageOf(thrown), hint, details })
}

/** Pieces that each fit a frame and cut no character in two. */
function* piecesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length;) {
    let end = Math.min(at + TEXT_CHARACTERS_MAX, text.length)
    const isCut = end < text.length && text.codePointAt(end - 1)! > 0xffff
    if (isCut) end -= 1
    yield text.slice(at, end)
    at = end
  }
}
