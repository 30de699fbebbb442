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

/** Output on its way that a guest may send before it is told that some was taken; an honest one sends half of it. */
const WINDOW_BYTES = 524_288
/** Output taken before the guest is told. */
const TAKEN_BYTES = 65_536
/** Input on its way, and in one frame. */
const INPUT_BYTES_MAX = 65_536
const CHUNK_BYTES = 16_384
/** Time for the guest's manager, which runs no user code, to open a terminal, and to end one that was closed. */
const ANSWER_MS_MAX = 30_000
/** Frames of no terminal that is open, in one life: an end and an order for it may cross. */
const STRAYS_MAX = 1000

/**
 * Terminals of a session behind a wall of programs.
 *
 * Problem: a terminal prints without end, its reader may not read, and all terminals share one socket with execs and files.
 *
 * Mechanism: credit in both directions, for each terminal by itself. The guest sends what fits into its window, and more
 * once it is told that the reader took some; this side does the same with input. The socket is never paused, so a terminal
 * whose reader is slow holds up its own program and nothing else. Random ids name terminals; a frame of another id ends
 * nothing.
 *
 * Not handled: what a program prints is the word of the guest, and so is its exit code.
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
      throw new MayflyError(
        'OVERLOADED',
        'Cannot open a terminal: the session has enough of them',
        {
          hint: 'Close another terminal first',
          retryAfterMs: 1000,
        },
      )
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

  /** True if it was a frame of terminals. */
  receive({ kind: what, payload }: Frame): boolean {
    if (what === kind.terminalOutput) this.#output(payload)
    else if (what === kind.terminalNote) this.#note(payload)
    else return false
    return true
  }

  /** The sandbox ended under them. */
  lost(): void {
    for (const terminal of this.#open.values()) terminal.over({ lost: true })
  }

  #output(payload: Buffer): void {
    const read = headed(terminalOutputSchema, payload)
    if (!read) return this.#life.garbled('unreadable output of a terminal')
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

class OpenTerminal implements WallTerminal {
  readonly #id: string
  readonly #life: GuestLife
  readonly #print: TerminalPrinter
  readonly #opened = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<TerminalExit>()
  /** Output that its reader has not taken, and output taken of which the guest was not told. */
  #unread = 0
  #untold = 0
  #printing: Promise<void> = Promise.resolve()
  /** Input that the guest has not taken. */
  #sent = 0
  #room = Promise.withResolvers<void>()
  #isOver = false
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
    if (this.#isClosing || this.#isOver) return
    this.#isClosing = true
    this.order({ close: true })
    // A manager that its own code stopped, or that is frozen, cannot hang up.
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

  /** False for more than its window. */
  print(bytes: Buffer): boolean {
    this.#unread += bytes.length
    if (this.#unread + this.#untold > WINDOW_BYTES) return false
    if (this.#isClosing) return (this.#took(bytes.length), true)
    // A copy: the chunk is a view of all that came in one read.
    const own = Buffer.from(bytes)
    this.#printing = this.#printing.then(() => this.#take(own))
    return true
  }

  /** False for more than was sent. */
  took(bytes: number): boolean {
    if (bytes > this.#sent) return false
    this.#sent -= bytes
    this.#hasRoom()
    return true
  }

  /** Ends it after its output. */
  over(exit: TerminalExit): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#opened.reject(sessionEnded())
    this.#hasRoom()
    const told = (): void => this.#ended.resolve(exit)
    if ('lost' in exit || this.#isClosing) told()
    else void this.#printing.then(told)
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
    this.#untold += bytes
    if (this.#untold < TAKEN_BYTES) return
    this.order({ taken: this.#untold })
    this.#untold = 0
  }

  #hasRoom(): void {
    this.#room.resolve()
    this.#room = Promise.withResolvers()
  }
}
