import type { Duplex } from 'node:stream'
import { MayflyError } from '../../../contract/error.ts'
import { readStrictJson } from '../../../lib/strict-json.ts'
import { RateBucket } from '../../../lib/rate-bucket.ts'
import { HeldBytes } from '../held-bytes.ts'
import {
  qmpAnswers,
  qmpLine,
  type QmpAnswer,
  type QmpCommand,
  type QmpEvent,
  type QmpQuestion,
  type QmpVersion,
} from './qmp-commands.ts'

/**
 * Control connection of a virtual machine: QMP (QEMU `docs/interop/qmp-spec.rst`), lines of JSON over a socket pair.
 *
 * The peer is a process that a guest may have compromised, so its output is hostile input: a line is UTF-8 with a maximum length
 * and depth, and has one of four shapes; responses come in the order of their commands (QMP guarantees this for in-band
 * commands) and have the shape of their command; events are limited by a token bucket, far above the rate of an honest guest. A
 * kernel of a guest can exceed it without a hole in QEMU: a write to the register of CPU hotplug is an event each. The first violation
 * closes the connection and rejects all pending commands, and so does a timeout: nothing can pause such a machine any more, so its
 * owner kills it once `ended` resolves (`process.ts`).
 *
 * Relies on an ordered byte stream. Not handled: several connections to one machine, out-of-band commands, descriptors
 * (`getfd`).
 */
const LINE_BYTES_MAX = 2 ** 16
const DEPTH_MAX = 16
const OPEN_MAX = 16
const EVENTS = { burst: 256, eachMs: 16 / 1_000 } as const
/** Long, because under TCG on a busy machine QEMU's main loop is delayed by hundreds of milliseconds. */
const ANSWER_MS_MAX = 15_000
const SAID_CHARS_MAX = 200
const NEWLINE = 0x0a

export interface QmpOptions {
  /** Milliseconds for the greeting, and for each response whose command sets no other limit. */
  readonly answerMsMax?: number
  readonly onEvent?: (event: QmpEvent) => void
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

interface OpenQuestion {
  readonly id: number
  readonly command: QmpCommand
  readonly timer: NodeJS.Timeout
  readonly answers: PromiseWithResolvers<unknown>
}

/** Resolves once the machine accepts commands. Throws MayflyError PROTOCOL, and destroys the socket then. */
export async function openQmp(socket: Duplex, options: QmpOptions = {}): Promise<QmpClient> {
  const client = new QmpClient(socket, options)
  await client.greeted
  await client.ask('qmp_capabilities')
  return client
}

export class QmpClient {
  /** Resolves with the release in the greeting. */
  readonly greeted: Promise<QmpVersion>
  /** Resolves with the cause once the connection has ended, also by `close`; never rejects. */
  readonly ended: Promise<string>
  readonly #socket: Duplex
  readonly #answerMsMax: number
  readonly #onEvent: (event: QmpEvent) => void
  readonly #events: RateBucket
  readonly #open: OpenQuestion[] = []
  readonly #greeting = Promise.withResolvers<QmpVersion>()
  readonly #end = Promise.withResolvers<string>()
  readonly #lines = new LineSplitter(LINE_BYTES_MAX)
  #greetingTimer: NodeJS.Timeout | undefined
  #isGreeted = false
  #over: string | undefined
  #fault: string | undefined
  #lastId = 0

  /** For `openQmp`, and for tests. */
  constructor(socket: Duplex, options: QmpOptions) {
    this.#socket = socket
    this.#answerMsMax = options.answerMsMax ?? ANSWER_MS_MAX
    this.#onEvent = options.onEvent ?? (() => undefined)
    this.#events = new RateBucket({ ...EVENTS, ...(options.now && { now: options.now }) })
    this.greeted = this.#greeting.promise
    this.greeted.catch(() => undefined)
    this.ended = this.#end.promise
    this.#greetingTimer = setTimeout(() => this.#fail('it sent no greeting'), this.#answerMsMax)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#finish(error.message))
    socket.on('end', () => this.#finish('it closed the connection'))
    socket.on('close', () => this.#finish('the connection is closed'))
  }

  /** Violation or timeout that ended the connection; undefined while it is open, and if a side closed it. */
  get fault(): string | undefined {
    return this.#fault
  }

  /**
   * Sends a command and resolves with its validated response. Rejects with MayflyError INTERNAL if the machine refuses the command
   * (the connection stays open), PROTOCOL for a violation or a timeout (it is closed), OVERLOADED above 16 pending commands.
   */
  async ask<Name extends QmpCommand>(
    command: Name,
    ...[given, { msMax = this.#answerMsMax } = {}]: QmpQuestion<Name>
  ): Promise<QmpAnswer<Name>> {
    if (this.#over !== undefined) throw broken(command, this.#over)
    if (this.#open.length >= OPEN_MAX)
      throw new MayflyError(
        'OVERLOADED',
        `Cannot send "${command}" to a machine: too many commands are pending`,
      )
    const id = ++this.#lastId
    const answers = Promise.withResolvers<unknown>()
    const question = { id, command, answers, timer: setTimeout(() => setImmediate(ends), msMax) }
    // After what lies in the socket: this process may have stood still itself.
    const ends = () => this.#open.includes(question) && this.#fail(`"${command}" is late`)
    this.#open.push(question)
    // Answered by an event besides (STOP, RESUME): the pauses of a CPU limit would use up the bound of an honest machine.
    if (command === 'stop' || command === 'cont') this.#events.spend(-1)
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: given, id })}\n`)
    return (await answers.promise) as QmpAnswer<Name>
  }

  /** Closes the connection and rejects pending commands. Idempotent. */
  close(): void {
    this.#finish('it was closed here')
  }

  #read(chunk: Buffer): void {
    try {
      for (const line of this.#lines.push(chunk)) {
        if (this.#over !== undefined) return
        this.#take(line)
      }
    } catch (error) {
      this.#fail(error instanceof RangeError ? error.message : 'a line is not a QMP message')
    }
  }

  #take(line: Buffer): void {
    const message = qmpLine.parse(readStrictJson(line, { depthMax: DEPTH_MAX }).value)
    if ('QMP' in message) this.#greet(message.QMP.version.qemu)
    else if (!this.#isGreeted) throw new RangeError('it sent a message before its greeting')
    else if ('event' in message) this.#report({ name: message.event, data: message.data ?? {} })
    else this.#settle(message)
  }

  #greet(version: QmpVersion): void {
    if (this.#isGreeted) throw new RangeError('it sent a second greeting')
    this.#isGreeted = true
    clearTimeout(this.#greetingTimer)
    this.#greeting.resolve(version)
  }

  #report(event: QmpEvent): void {
    if (!this.#events.take()) throw new RangeError('it sent too many events')
    this.#onEvent(event)
  }

  #settle(message: QmpReply): void {
    const question = this.#open.shift()
    if (!question) throw new RangeError('it sent a response to no command')
    const { command, timer, answers } = question
    clearTimeout(timer)
    if (message.id !== question.id) {
      answers.reject(broken(command, 'another command was answered'))
      throw new RangeError('it answered out of order')
    }
    if ('error' in message) return answers.reject(refused(command, message.error.desc))
    const { success, data } = qmpAnswers[command].safeParse(message.return)
    if (success) return answers.resolve(data)
    answers.reject(broken(command, 'its answer has another shape'))
    throw new RangeError(`its answer to "${command}" has another shape`)
  }

  #fail(why: string): void {
    if (this.#over !== undefined) return
    this.#fault = why
    this.#finish(why)
  }

  #finish(why: string): void {
    if (this.#over !== undefined) return
    this.#over = why
    clearTimeout(this.#greetingTimer)
    this.#greeting.reject(broken('qmp_capabilities', why))
    for (const { command, timer, answers } of this.#open.splice(0)) {
      clearTimeout(timer)
      answers.reject(broken(command, why))
    }
    this.#socket.destroy()
    this.#end.resolve(why)
  }
}

type QmpReply =
  | { readonly return: unknown; readonly id: number }
  | { readonly error: { readonly desc: string }; readonly id?: number | undefined }

/** Splits bytes into lines; buffers one incomplete line of bounded length. */
class LineSplitter {
  readonly #max: number
  readonly #held: HeldBytes

  constructor(bytesMax: number) {
    this.#max = bytesMax
    this.#held = new HeldBytes(bytesMax)
  }

  /** Throws RangeError for a line over the maximum. */
  *push(chunk: Buffer): Generator<Buffer> {
    for (let from = 0; from < chunk.length;) {
      const at = chunk.indexOf(NEWLINE, from)
      const piece = chunk.subarray(from, at < 0 ? chunk.length : at)
      if (!this.#held.add(piece)) throw new RangeError(`it sent a line over ${this.#max} bytes`)
      if (at < 0) return
      yield this.#held.take()
      from = at + 1
    }
  }
}

/** Untrusted text of a machine, truncated and without control characters. */
export function saidByMachine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- removed, because they would control the operator's terminal
  return text.slice(0, SAID_CHARS_MAX).replaceAll(/[\0-\x1f\x7f-\x9f]/g, ' ')
}

function refused(command: QmpCommand, said: string): MayflyError {
  const reason = saidByMachine(said)
  return new MayflyError('INTERNAL', `Cannot send "${command}" to a machine: it refused: ${reason}`)
}

function broken(command: QmpCommand, why: string): MayflyError {
  return new MayflyError('PROTOCOL', `Cannot send "${command}" to a machine: ${why}`)
}
