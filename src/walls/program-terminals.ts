import { randomUUID } from 'node:crypto'
import { MayflyError } from '../contract/error.ts'
import { sessionEnded } from '../contract/exec.ts'
import {
  terminalsMax,
  type TerminalExit,
  type TerminalPrinter,
  type TerminalSignal,
  type TerminalSize,
  type TerminalTask,
  type WallTerminal,
} from '../contract/terminal.ts'
import type { Frame } from '../lib/frames.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import type { GuestLife } from './guest-life.ts'
import { headed, kind, terminalNoteSchema, terminalOutputSchema } from './wire.ts'

/** Window of unacknowledged output per terminal; an honest guest uses half of it. */
const WINDOW_BYTES = 524_288
/** Consumed output after which credit is sent. */
const TAKEN_BYTES = 65_536
/** Buffer that small pieces of waiting output share. */
const SHARED_BYTES = 4_096
/** Limit of unacknowledged input, and of one input frame. */
const INPUT_BYTES_MAX = 65_536
const CHUNK_BYTES = 16_384
/** Time for the guest's manager, which runs no user code, to open a terminal, or to end a closed one. */
const ANSWER_MS_MAX = 30_000
/**
 * Limit per life of frames with an unknown terminal id: some are legitimate, because an end and a request may cross.
 */
const STRAYS_MAX = 1000

/**
 * Terminals of a session behind a wall of programs.
 *
 * Problem: the output of a terminal is unbounded, its reader may be slow, and all terminals share one socket with execs
 * and files.
 *
 * Mechanism: credit-based flow control in both directions, per terminal. The guest sends what fits into its window, and
 * more after it receives credit; input works the same way. The socket is never paused, so a slow reader stalls only the
 * program of its own terminal. Terminals have random ids; frames with an unknown id are dropped, up to a limit.
 *
 * Not handled: output and exit code are reported by the guest (untrusted).
 */
export class ProgramTerminals {
  readonly #life: GuestLife
  readonly #open = new Map<string, OpenTerminal>()
  #strays = 0

  constructor(life: GuestLife) {
    this.#life = life
  }

  async open(task: TerminalTask, print: TerminalPrinter): Promise<WallTerminal> {
    if (this.#open.size >= terminalsMax)
      throw new MayflyError('OVERLOADED', 'Cannot open a terminal: the session has too many', {
        hint: 'Close another terminal first',
        retryAfterMs: 1000,
      })
    const id = randomUUID()
    const terminal = new OpenTerminal(id, this.#life, print)
    this.#open.set(id, terminal)
    void terminal.ended.then(() => this.#open.delete(id))
    terminal.order({ open: task })
    const late = (): void => terminal.refuse('the sandbox does not answer')
    const timer = setTimeout(late, ANSWER_MS_MAX)
    try {
      await terminal.opened
      return terminal
    } finally {
      clearTimeout(timer)
    }
  }

  /** Whether one is open, or is being opened. */
  get isOpen(): boolean {
    return this.#open.size > 0
  }

  /** True if it was a frame of terminals. */
  receive({ kind: what, payload }: Frame): boolean {
    if (what === kind.terminalOutput) this.#output(payload)
    else if (what === kind.terminalNote) this.#note(payload)
    else return false
    return true
  }

  /** Ends all terminals because the sandbox ended. */
  lost(): void {
    for (const terminal of this.#open.values()) terminal.over({ lost: true })
  }

  #output(payload: Buffer): void {
    const read = headed(terminalOutputSchema, payload)
    // Without bytes it would be outside of the window.
    if (!read || read.rest.length === 0)
      return this.#life.garbled('unreadable output of a terminal')
    const terminal = this.#find(read.head.id)
    if (terminal && !terminal.print(read.rest))
      this.#life.garbled('more output of a terminal than was asked for')
  }

  #note(payload: Buffer): void {
    const read = terminalNoteSchema.safeParse(tryParseJson(payload.toString('utf8')))
    if (!read.success) return this.#life.garbled('unreadable note about a terminal')
    const { id, opened, error, taken, ended } = read.data
    const terminal = this.#find(id)
    if (!terminal) return
    if (opened) terminal.begin()
    if (error) terminal.refuse(error.message)
    if (taken !== undefined && !terminal.took(taken))
      this.#life.garbled('more input of a terminal than was sent')
    if (ended) terminal.over(ended)
  }

  #find(id: string): OpenTerminal | undefined {
    const terminal = this.#open.get(id)
    if (!terminal && ++this.#strays > STRAYS_MAX)
      this.#life.garbled('frames of terminals that are not open')
    return terminal
  }
}

/** Bytes of output in a buffer with room for more. */
interface WaitingPiece {
  readonly buffer: Buffer
  used: number
}

class OpenTerminal implements WallTerminal {
  readonly #id: string
  readonly #life: GuestLife
  readonly #print: TerminalPrinter
  readonly #opened = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<TerminalExit>()
  /** Bytes of output not yet consumed, and bytes consumed but not yet credited. */
  #unread = 0
  #uncredited = 0
  /** Output that waits for the printer, and the loop that prints it. */
  #waiting: WaitingPiece[] = []
  #printing: Promise<void> | undefined
  /** Bytes of input not yet acknowledged by the guest. */
  #sent = 0
  #room = Promise.withResolvers<void>()
  /** Exit of its program; its output may still be printed. */
  #exit: TerminalExit | undefined
  #isClosing = false

  constructor(id: string, life: GuestLife, print: TerminalPrinter) {
    this.#id = id
    this.#life = life
    this.#print = print
    this.#opened.promise.catch(() => undefined)
  }

  get opened(): Promise<void> {
    return this.#opened.promise
  }

  get ended(): Promise<TerminalExit> {
    return this.#ended.promise
  }

  get #isOver(): boolean {
    return this.#exit !== undefined
  }

  order(what: Readonly<Record<string, unknown>>): void {
    if (this.#isOver || this.#life.isEnded) return
    const order = JSON.stringify({ protocol: 1, id: this.#id, ...what })
    this.#life.parts.wall.send(kind.terminal, order)
  }

  async write(bytes: Uint8Array): Promise<void> {
    const head = Buffer.from(`{"id":"${this.#id}"}\n`)
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      while (this.#sent >= INPUT_BYTES_MAX && !this.#isOver) await this.#room.promise
      if (this.#isOver || this.#life.isEnded) return
      const chunk = bytes.subarray(at, at + CHUNK_BYTES)
      this.#sent += chunk.length
      this.#life.parts.wall.send(kind.terminalInput, Buffer.concat([head, chunk]))
    }
  }

  resize({ cols, rows }: TerminalSize): void {
    this.order({ resize: { cols, rows } })
  }

  signal(name: TerminalSignal): void {
    this.order({ signal: name })
  }

  close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    if (this.#exit) return this.#ended.resolve(this.#exit)
    this.order({ close: true })
    // A stopped or frozen manager cannot hang up the terminal.
    const late = (): void => this.over({ lost: true })
    const timer = setTimeout(late, ANSWER_MS_MAX)
    void this.ended.then(() => clearTimeout(timer))
  }

  begin(): void {
    this.#opened.resolve()
  }

  refuse(why: string): void {
    this.#opened.reject(
      new MayflyError('UNAVAILABLE', 'Cannot open a terminal in this sandbox', { detail: why }),
    )
    if (!this.#isOver) this.order({ close: true })
    this.over({ lost: true })
  }

  /** Receives output; false beyond its window. */
  print(bytes: Buffer): boolean {
    this.#unread += bytes.length
    if (this.#unread + this.#uncredited > WINDOW_BYTES) return false
    if (this.#isClosing) return (this.#took(bytes.length), true)
    this.#wait(bytes)
    this.#printing ??= Promise.resolve().then(() => this.#printAll())
    return true
  }

  /** Copied: the chunk is a view on the buffer of a whole read. Small pieces share a buffer: each has its own costs. */
  #wait(bytes: Buffer): void {
    const last = this.#waiting.at(-1)
    if (last && last.used + bytes.length <= last.buffer.length)
      return void (last.used += bytes.copy(last.buffer, last.used))
    const size = last ? Math.max(bytes.length, SHARED_BYTES) : bytes.length
    const buffer = Buffer.allocUnsafeSlow(size)
    this.#waiting.push({ buffer, used: bytes.copy(buffer) })
  }

  async #printAll(): Promise<void> {
    for (;;) {
      const next = this.#waiting.shift()
      if (!next) break
      await this.#take(next.buffer.subarray(0, next.used))
    }
    this.#printing = undefined
  }

  /** Receives an acknowledgement of input; false for more bytes than were sent. */
  took(bytes: number): boolean {
    if (bytes > this.#sent) return false
    this.#sent -= bytes
    this.#hasRoom()
    return true
  }

  /** Ends it after its output; at once if it was closed or lost. */
  over(exit: TerminalExit): void {
    const isFirst = !this.#exit
    const ended = (this.#exit ??= exit)
    if ('lost' in exit || this.#isClosing) this.#ended.resolve(ended)
    if (!isFirst) return
    this.#opened.reject(sessionEnded())
    this.#hasRoom()
    void (this.#printing ?? Promise.resolve()).then(() => this.#ended.resolve(ended))
  }

  async #take(bytes: Buffer): Promise<void> {
    try {
      if (!this.#isClosing) await this.#print(bytes)
    } catch {
      this.close()
    }
    this.#took(bytes.length)
  }

  #took(bytes: number): void {
    this.#unread -= bytes
    this.#uncredited += bytes
    if (this.#uncredited < TAKEN_BYTES) return
    this.order({ taken: this.#uncredited })
    this.#uncredited = 0
  }

  #hasRoom(): void {
    this.#room.resolve()
    this.#room = Promise.withResolvers()
  }
}
