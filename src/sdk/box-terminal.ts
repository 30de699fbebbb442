import type { Outcome } from '../contract/outcome.ts'
import type {
  OpenedTerminal,
  Terminal,
  TerminalPrinter,
  TerminalSignal,
  TerminalSize,
} from '../contract/terminal.ts'
import { endedBeforeExec, readSize } from '../sessions/session-job.ts'

/**
 * A terminal in a session, whose program is the leader of a session of processes in the sandbox. It runs beside execs, and
 * ends with the session.
 *
 * @example
 * await using terminal = await box.pty({ command: ['python3', '-q'], cols: 100, rows: 30 })
 * await terminal.write('6 * 7\r')
 * for await (const bytes of terminal.readable) process.stdout.write(bytes)
 */
export class BoxTerminal implements AsyncDisposable {
  /** Output as it comes. Without a reader the program waits; cancelling closes the terminal. */
  readonly readable: ReadableStream<Uint8Array>
  /** Input. Closing it types nothing: Ctrl-D is `'\x04'`. */
  readonly writable: WritableStream<Uint8Array>
  readonly #terminal: Terminal

  /** Opens one by `open`, which gets the receiver of its output. Throws as `OpenSession.terminal` does. */
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
    this.writable = new WritableStream({ write: (bytes) => terminal.write(bytes) })
    const over = (): void => pipe.end()
    terminal.ended.then(over, over)
  }

  /** The execution that it is in the record. */
  get id(): string {
    return this.#terminal.id
  }

  /** Resolves to its outcome, with `exitCode` or `signal`, however it ends. */
  get exited(): Promise<Outcome> {
    return this.#terminal.ended
  }

  /** Resolves when the sandbox has taken so much that more may follow. */
  write(bytes: Uint8Array | string): Promise<void> {
    return this.#terminal.write(typeof bytes === 'string' ? Buffer.from(bytes) : bytes)
  }

  /** From 1 to 1000. Throws MayflyError INVALID. */
  resize(size: TerminalSize): void {
    this.#terminal.resize(readSize(size))
  }

  /** Signals what runs in its foreground: a name of `terminalSignals`. */
  kill(signal: TerminalSignal = 'SIGHUP'): void {
    this.#terminal.signal(signal)
  }

  /** Hangs up; resolves to its outcome. Idempotent. */
  close(): Promise<Outcome> {
    return this.#terminal.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** A stream that holds one chunk; the promise of `print` waits for its reader. */
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
