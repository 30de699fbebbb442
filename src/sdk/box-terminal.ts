import { MayflyError } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import type {
  OpenedTerminal,
  Terminal,
  TerminalPrinter,
  TerminalSignal,
  TerminalSize,
} from '../contract/terminal.ts'
import { endedBeforeExec, readSignal, readSize } from '../sessions/session-job.ts'

/**
 * A terminal in a session. Its program is a session leader (setsid) in the sandbox. Runs concurrently with execs, and
 * ends with the session.
 *
 * @example
 * await using terminal = await box.pty({ command: ['python3', '-q'], cols: 100, rows: 30 })
 * await terminal.write('6 * 7\r')
 * for await (const bytes of terminal.readable) process.stdout.write(bytes)
 */
export class BoxTerminal implements AsyncDisposable {
  /** Live output, with back-pressure: without a reader the program blocks. Cancelling closes the terminal. */
  readonly readable: ReadableStream<Uint8Array>
  /** Input. Closing it types nothing: Ctrl-D is `'\x04'`. */
  readonly writable: WritableStream<Uint8Array>
  readonly #terminal: Terminal

  /** Opens a terminal by `open`, which gets the receiver of its output. Throws like `OpenSession.terminal`. */
  static async open(open: (print: TerminalPrinter) => Promise<OpenedTerminal>) {
    const pipe = new OutputPipe()
    const opened = await open((chunk) => pipe.print(chunk))
    if (opened.kind === 'ended') throw endedBeforeExec(opened.outcome)
    return new BoxTerminal(opened.terminal, pipe)
  }

  private constructor(terminal: Terminal, pipe: OutputPipe) {
    this.#terminal = terminal
    this.readable = pipe.readable
    pipe.cancelled = () => void terminal.close().catch(() => undefined)
    this.writable = new WritableStream({ write: (bytes) => this.write(bytes) })
    const over = (): void => pipe.end()
    terminal.ended.then(over, over)
  }

  /** Id of its execution in the record. */
  get id(): string {
    return this.#terminal.id
  }

  /** Resolves to its outcome, with `exitCode` or `signal`; never rejects for the way in which it ends. */
  get exited(): Promise<Outcome> {
    return this.#terminal.ended
  }

  /** Resolves when the sandbox has read enough that more may be written (back-pressure). */
  async write(bytes: Uint8Array | string): Promise<void> {
    await this.#terminal.write(contentBytes(bytes))
  }

  /** Sets columns and rows, each from 1 to 1000. Throws MayflyError INVALID. */
  resize(size: TerminalSize): void {
    this.#terminal.resize(readSize(size))
  }

  /** Sends a signal to the foreground process group. Throws MayflyError INVALID for one that a terminal has not. */
  kill(signal: TerminalSignal = 'SIGHUP'): void {
    this.#terminal.signal(readSignal(signal))
  }

  /** Hangs up; resolves to its outcome. Idempotent. */
  close(): Promise<Outcome> {
    return this.#terminal.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Bytes that a wall takes; other values would end it, as a breach of its protocol. Throws MayflyError INVALID. */
export function contentBytes(content: unknown): Uint8Array {
  if (typeof content === 'string') return Buffer.from(content)
  if (content instanceof Uint8Array) return content
  throw new MayflyError('INVALID', 'Cannot take the content: expected text or a Uint8Array')
}

/** Stream that buffers one chunk; the promise of `print` settles when it is read (back-pressure). */
class OutputPipe {
  readonly readable: ReadableStream<Uint8Array>
  cancelled = (): void => undefined
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #room = Promise.withResolvers<void>()
  #isOver = false

  constructor() {
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller
      },
      pull: () => this.#room.resolve(),
      cancel: () => {
        this.#isOver = true
        this.#room.resolve()
        this.cancelled()
      },
    })
  }

  async print(chunk: Uint8Array): Promise<void> {
    if (this.#isOver) return
    this.#controller.enqueue(chunk)
    if ((this.#controller.desiredSize ?? 0) > 0) return
    this.#room = Promise.withResolvers()
    await this.#room.promise
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#room.resolve()
    this.#controller.close()
  }
}
