import type { Clock, Timer } from '../contract/clock.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { OutputListener } from '../contract/pipeline.ts'
import { happeningMark, timeText, wordText } from '../picture/caption.js'
import { happeningsOf } from '../picture/events.js'
import { lifeOf, noPlan, planOf, type Life } from '../picture/life.js'
import { pictureOf } from '../picture/picture.js'
import { linesOf, type Tone } from '../picture/terminal.js'
import { durationText, plain } from '../picture/words.js'
import { paint } from './print.ts'

const DRAW_EVERY_MS = 100
const COLUMNS_ELSEWHERE = 100
const BEGIN_FRAME = '\x1b[?2026h'
const END_FRAME = '\x1b[?2026l'

export interface LiveView extends Disposable {
  /** Called with the job's profile. */
  readonly planned: (profile: Profile) => void
  /** Called with each timeline entry. */
  readonly on: (entry: TimelineEntry) => void
  /** Counts output, and clears the picture before printing. */
  tap(print: OutputListener | undefined): OutputListener
  /** Prints the final picture; nothing is drawn after it. */
  end(outcome: Outcome): void
}

export interface WatchFlags {
  readonly stream: Pick<NodeJS.WriteStream, 'isTTY' | 'write' | 'columns' | 'rows'>
  readonly clock: Clock
}

/** View of `run --watch`: on a TTY a picture redrawn in place, otherwise a line per event. */
export function watch(options: WatchFlags): LiveView {
  return options.stream.isTTY && process.env['TERM'] !== 'dumb'
    ? new Live(options)
    : new Lines(options)
}

class Lines implements LiveView {
  readonly #stream: WatchFlags['stream']

  constructor({ stream }: WatchFlags) {
    this.#stream = stream
  }

  readonly planned = (): void => undefined

  readonly on = (entry: TimelineEntry): void => {
    const texts = happeningsOf([entry]).map(
      (one) => `${timeText(one)}  ${happeningMark(one).mark} ${wordText(one)}  ${one.text}`,
    )
    const phase = `${durationText(entry.at)}  phase  ${plain(entry.phase ?? '')}`
    const zone = entry.zone === 'main' ? '' : `${plain(entry.zone, 40)}: `
    this.#stream.write(`${zone}${texts[0] ?? phase}`.trimEnd() + '\n')
  }

  tap(print: OutputListener | undefined): OutputListener {
    return (name, text, bytes) => print?.(name, text, bytes)
  }

  end(outcome: Outcome): void {
    const drawn = linesOf(pictureOf(lifeOf(outcome)), {
      columns: COLUMNS_ELSEWHERE,
      paint: (_, text) => text,
    })
    this.#stream.write(`${drawn.join('\n')}\n`)
  }

  [Symbol.dispose](): void {}
}

class Live implements LiveView {
  readonly #options: WatchFlags
  readonly #timeline: TimelineEntry[] = []
  #next: Timer
  #life: Pick<Life, 'plan' | 'wall'> = { plan: noPlan, wall: '' }
  #began: number | undefined
  #bytes = 0
  /** Text drawn last, and its height in terminal lines. */
  #drawn = ''
  #height = 0
  /** True if the cursor is at a line start: output of the job is never overdrawn. */
  #isFree = true

  constructor(options: WatchFlags) {
    this.#options = options
    this.#next = this.#again()
  }

  readonly planned = (profile: Profile): void => {
    this.#life = { plan: planOf(profile), wall: `${profile.tier}, ${profile.provider}` }
  }

  readonly on = (entry: TimelineEntry): void => {
    this.#began ??= this.#options.clock.now() - entry.at
    this.#timeline.push(entry)
  }

  tap(print: OutputListener | undefined): OutputListener {
    return async (name, text, bytes) => {
      this.#bytes += bytes?.length ?? Buffer.byteLength(text)
      if (!print) return
      this.#clear()
      this.#isFree = text.endsWith('\n')
      await print(name, text, bytes)
    }
  }

  end(outcome: Outcome): void {
    this[Symbol.dispose]()
    const start = this.#isFree ? '' : '\n'
    this.#options.stream.write(`${start}${this.#linesOf(lifeOf(outcome)).join('\n')}\n`)
  }

  [Symbol.dispose](): void {
    this.#next.cancel()
    this.#clear()
  }

  #again(): Timer {
    if (this.#isFree) this.#draw()
    return this.#options.clock.after(DRAW_EVERY_MS, () => (this.#next = this.#again()))
  }

  /** Redraws in a single write, to avoid flicker. */
  #draw(): void {
    const { stream, clock } = this.#options
    const age = this.#began === undefined ? 0 : clock.now() - this.#began
    const life = { ...this.#life, status: 'running', timeline: this.#timeline, age }
    const lines = this.#linesOf({ ...life, out: this.#bytes, network: [] })
    const shown = lines.slice(0, Math.max(1, (stream.rows || 24) - 1))
    const text = shown.map((line) => `${line}\x1b[K\n`).join('')
    if (text === this.#drawn) return
    stream.write(`${BEGIN_FRAME}${this.#home()}${text}\x1b[J${END_FRAME}`)
    this.#drawn = text
    this.#height = shown.length
  }

  #linesOf(life: Life): readonly string[] {
    const { stream } = this.#options
    const painted = (tone: Tone, text: string) => paint(colours[tone], text, stream)
    return linesOf(pictureOf(life), { columns: stream.columns || 80, paint: painted })
  }

  #clear(): void {
    if (this.#height === 0) return
    this.#options.stream.write(`${this.#home()}\x1b[J`)
    this.#drawn = ''
    this.#height = 0
  }

  #home(): string {
    return this.#height === 0 ? '' : `\x1b[${this.#height}F`
  }
}

const colours = {
  good: 'green',
  warn: 'yellow',
  bad: 'red',
  calm: 'cyan',
  bold: 'bold',
  dim: 'dim',
} as const satisfies Record<Tone, string>
