import type { Clock, Timer } from '../contract/clock.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { Tap } from '../contract/rooms.ts'

const DRAW_EVERY_MS = 100
const BAR = 20

export interface Watching extends Disposable {
  /** Hears each line of the timeline. */
  readonly on: (entry: TimelineEntry) => void
  /** Counts output, and makes room for it where it is printed too. */
  tap(print: Tap | undefined): Tap
}

export interface WatchOptions {
  readonly stream: Pick<NodeJS.WriteStream, 'isTTY' | 'write' | 'columns'>
  readonly clock: Clock
  /** The longest the job may run, in milliseconds. */
  readonly timeout: number
}

/** What `run --watch` shows: on a terminal one line that is drawn again and again, else a line for each event. */
export function watch(options: WatchOptions): Watching {
  return options.stream.isTTY && process.env['TERM'] !== 'dumb'
    ? new Live(options)
    : new Lines(options)
}

class Lines implements Watching {
  readonly #stream: WatchOptions['stream']
  #bytes = 0

  constructor({ stream }: WatchOptions) {
    this.#stream = stream
  }

  readonly on = ({ at, event, phase }: TimelineEntry): void => {
    const named = phase === undefined ? event : `${event} ${phase}`
    this.#stream.write(`${Math.round(at)} ms: ${named}, ${sizeOf(this.#bytes)} out\n`)
  }

  tap(print: Tap | undefined): Tap {
    return (name, text) => {
      this.#bytes += Buffer.byteLength(text)
      return print?.(name, text)
    }
  }

  [Symbol.dispose](): void {}
}

class Live implements Watching {
  readonly #options: WatchOptions
  #next: Timer
  #phase = 'starting'
  #began: number | undefined
  #bytes = 0
  /** Whether the cursor is where a line begins: nothing is drawn over what the job printed. */
  #free = true

  constructor(options: WatchOptions) {
    this.#options = options
    this.#next = this.#draw()
  }

  readonly on = ({ at, phase }: TimelineEntry): void => {
    this.#began ??= this.#options.clock.now() - at
    this.#phase = phase ?? this.#phase
  }

  tap(print: Tap | undefined): Tap {
    return async (name, text) => {
      this.#bytes += Buffer.byteLength(text)
      if (!print) return
      this.#clear()
      this.#free = text.endsWith('\n')
      await print(name, text)
    }
  }

  [Symbol.dispose](): void {
    this.#next.cancel()
    this.#clear()
  }

  #draw(): Timer {
    const { stream, clock, timeout } = this.#options
    const elapsed = this.#began === undefined ? 0 : clock.now() - this.#began
    const state = { phase: this.#phase, elapsed, timeout, bytes: this.#bytes }
    if (this.#free) stream.write(`\r\x1b[K${lineOf(state).slice(0, (stream.columns || 80) - 1)}`)
    return clock.after(DRAW_EVERY_MS, () => (this.#next = this.#draw()))
  }

  #clear(): void {
    if (this.#free) this.#options.stream.write('\r\x1b[K')
  }
}

interface State {
  readonly phase: string
  readonly elapsed: number
  readonly timeout: number
  readonly bytes: number
}

function lineOf({ phase, elapsed, timeout, bytes }: State): string {
  const full = Math.min(BAR, Math.floor((elapsed / timeout) * BAR))
  const bar = '█'.repeat(full) + '░'.repeat(BAR - full)
  return `${phase} ${bar} ${secondsOf(elapsed)} of ${secondsOf(timeout)}, ${sizeOf(bytes)} out`
}

function secondsOf(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function sizeOf(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KB`
}
