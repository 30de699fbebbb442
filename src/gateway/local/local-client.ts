import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { OutputListener } from '../../contract/pipeline.ts'
import { anyEvent } from '../../lib/any-event.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../lib/frames.ts'
import { openTailBytes } from '../../lib/utf8-tail.ts'
import { NoAnalystError } from '../../threat/no-analyst.ts'
import type { PlannedRun, ServerFacts } from './client.ts'
import type { ServerRecord } from './place.ts'
import {
  framesOfText,
  clientHelloBytesMax,
  isProof,
  localKinds,
  nonceBytes,
  partBytesMax,
  proofOf,
  protocol,
  runRequestBytesMax,
  TextParts,
  type Nonces,
} from './wire.ts'

/** Timeout of a caller's proof. */
const PROOF_MS_MAX = 5_000
/** Timeout for reading the answer once the server exits; a stopped caller, or one piped into a pager, does not read. */
const READ_MS_MAX = 2_000
/** Maximum of UTF-16 units in one frame of output: at most three bytes each. */
const TEXT_CHARACTERS_MAX = 2 ** 18
/** Error codes of jobs that never ran and that the command can run in its own process. */
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
  /** Runs a received job; throws like the pipeline. */
  readonly run: (text: string, caller: LocalCaller) => Promise<Outcome>
}

/**
 * Connection of a caller: hello, proof, then one job or one order. Any other frame, sequence or length, or a frame
 * after the end, closes the connection without an answer.
 */
export class LocalClient {
  readonly #socket: Socket
  readonly #parts: LocalClientParts
  readonly #decoder = new FrameDecoder(clientHelloBytesMax)
  readonly #request = new TextParts(runRequestBytesMax)
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

  /** Resolves when the connection is closed and its job has ended; true if there was a job. */
  get gone(): Promise<boolean> {
    return this.#gone.promise
  }

  get isRunning(): boolean {
    return this.#state === 'running'
  }

  cancel(): void {
    this.#cancelled.abort()
  }

  /** Closes a connection without a job; declines the job that an authenticated caller may still send. */
  leaveIdle(): void {
    if (this.isRunning || this.#state === 'over') return
    if (this.#state === 'ready') this.#decline()
    this.#socket.destroySoon()
  }

  /** Ends within a timeout even if the caller does not read; otherwise the server could not be stopped. */
  async end(): Promise<void> {
    this.cancel()
    if (!this.isRunning) this.#socket.destroySoon()
    const late = setTimeout(() => this.#socket.destroy(), READ_MS_MAX)
    await this.#gone.promise
    clearTimeout(late)
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#handle(frame)
    } catch {
      this.#socket.destroy()
    }
  }

  /** Throws RangeError for an unexpected frame. */
  #handle({ kind, payload }: Frame): void {
    const { isOpen, facts, stop } = this.#parts
    if (this.#state === 'hello' && kind === localKinds.hello) return this.#challenge(payload)
    if (this.#state === 'proof' && kind === localKinds.proof) return this.#prove(payload)
    if (this.#state === 'ready' && kind === localKinds.part) return this.#request.push(payload)
    if (payload.length > 0) throw new RangeError(`Cannot accept a payload with kind ${kind}`)
    if (this.#state === 'ready' && kind === localKinds.run && isOpen()) return void this.#run()
    if (this.#state === 'ready' && kind === localKinds.run) return this.#decline()
    // Race: a cancellation may arrive after the end of its job.
    if ((this.isRunning || this.#state === 'over') && kind === localKinds.cancel)
      return this.cancel()
    if (this.#state === 'ready' && kind === localKinds.status)
      return void this.#socket.write(encodeFrame(localKinds.facts, JSON.stringify(facts())))
    if (this.#state === 'ready' && kind === localKinds.stop) {
      this.#state = 'over'
      return stop()
    }
    throw new RangeError(`Cannot accept kind ${kind} now`)
  }

  #challenge(hello: Buffer): void {
    if (hello.length !== clientHelloBytesMax || hello[0] !== protocol)
      throw new RangeError('Cannot read the hello')
    const { name, secret } = this.#parts.record
    const nonces = { client: Buffer.from(hello.subarray(1)), server: randomBytes(nonceBytes) }
    const proof = proofOf(secret, 'server', name, nonces)
    this.#nonces = nonces
    this.#state = 'proof'
    this.#socket.write(encodeFrame(localKinds.challenge, Buffer.concat([nonces.server, proof])))
  }

  #prove(proof: Buffer): void {
    const { name, secret } = this.#parts.record
    if (!isProof(proof, proofOf(secret, 'client', name, this.#nonces!)))
      throw new RangeError('Cannot accept the proof')
    // The configuration may have changed since, or the server may be stopping.
    if (!this.#parts.isOpen()) throw new RangeError('Cannot accept a job now')
    this.#state = 'ready'
    this.#socket.setTimeout(0)
    this.#decoder.bound(partBytesMax)
    this.#socket.write(encodeFrame(localKinds.ready, ''))
  }

  #decline(): void {
    this.#state = 'over'
    this.#socket.end(encodeFrame(localKinds.declined, ''))
  }

  async #run(): Promise<void> {
    this.#state = 'running'
    try {
      const text = this.#request.take()
      const outcome = await this.#parts.run(text, this.#caller())
      this.#hasRun = true
      await this.#send(JSON.stringify(outcome), localKinds.outcome)
    } catch (thrown) {
      const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
      // The process of the caller may have for an analysis what this server lacks.
      if (declined.has(code) || thrown instanceof NoAnalystError) this.#decline()
      else await this.#send(refusalOf(thrown), localKinds.refused)
    } finally {
      this.#state = 'over'
      this.#socket.end()
      if (this.#socket.destroyed) this.#gone.resolve(this.#hasRun)
    }
  }

  #caller(): LocalCaller {
    return {
      signal: this.#cancelled.signal,
      tap: async (stream, text, bytes) => {
        for (const piece of bytes ? bytePiecesOf(bytes) : piecesOf(text))
          await this.#write(encodeFrame(localKinds[stream], piece))
      },
      planned: (planned) => {
        for (const frame of framesOfText(
          JSON.stringify(planned),
          localKinds.answerPart,
          localKinds.planned,
        ))
          this.#socket.write(frame)
      },
      on: (entry) => {
        const frame = encodeFrame(localKinds.entry, JSON.stringify(entry))
        if (frame.length <= partBytesMax) this.#socket.write(frame)
      },
    }
  }

  async #send(text: string, end: number): Promise<void> {
    for (const frame of framesOfText(text, localKinds.answerPart, end)) await this.#write(frame)
  }

  /** Writes with back-pressure; does not wait for a disconnected caller. */
  async #write(frame: Buffer): Promise<void> {
    const socket = this.#socket
    if (!socket.destroyed && !socket.write(frame)) await anyEvent(socket, ['drain', 'close'])
  }
}

function refusalOf(thrown: unknown): string {
  const { code, hint, details } =
    thrown instanceof MayflyError
      ? thrown
      : { code: 'INTERNAL', hint: undefined, details: undefined }
  return JSON.stringify({ code, message: messageOf(thrown), hint, details })
}

/** Splits bytes into pieces that fit a frame, without splitting a character. */
function* bytePiecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const piece = bytes.subarray(at, at + partBytesMax)
    const isLast = at + piece.length === bytes.length
    const whole = isLast ? piece : piece.subarray(0, piece.length - openTailBytes(piece))
    yield whole
    at += whole.length
  }
}

/** Splits a text into pieces that fit a frame, without splitting a surrogate pair. */
function* piecesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length;) {
    let end = Math.min(at + TEXT_CHARACTERS_MAX, text.length)
    const isCut = end < text.length && text.codePointAt(end - 1)! > 0xffff
    if (isCut) end -= 1
    yield text.slice(at, end)
    at = end
  }
}
