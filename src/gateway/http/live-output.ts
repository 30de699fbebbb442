import type { FrameName, Send } from './frames.ts'

/** Characters kept of one job under way, each frame counted with some of its own; the newest is kept whatever its size. */
const keptCharsMax = 65_536
const frameChars = 64
const watchersMax = 8

interface Frame {
  /** From 1, one more each: a gap tells a reader what it missed. */
  readonly seq: number
  readonly name: FrameName
  readonly data: string
}

/**
 * The last that a job under way has told, for whoever comes later. Readers take it at their own pace and hold nobody
 * up: what is no longer kept when they get there they miss.
 */
export class LiveOutput {
  readonly #frames: Frame[] = []
  readonly #wakes = new Set<() => void>()
  #chars = 0
  #last = 0
  #watchers = 0
  #isOver = false

  /** As `Send`, but never to be waited for. */
  readonly push = (name: FrameName, data: string): void => {
    this.#frames.push({ seq: ++this.#last, name, data })
    this.#chars += data.length + frameChars
    while (this.#chars > keptCharsMax && this.#frames.length > 1)
      this.#chars -= this.#frames.shift()!.data.length + frameChars
    this.#wake()
  }

  get isFull(): boolean {
    return this.#watchers >= watchersMax
  }

  /** Sends what is kept after `seq`, then what comes; resolves when the job is over or `signal` aborts. */
  async watch(seq: number, signal: AbortSignal, send: WatchSend): Promise<void> {
    const wake = (): void => this.#wake()
    signal.addEventListener('abort', wake)
    this.#watchers += 1
    // One that is ahead of a job, of another server say, starts over.
    let at = seq > this.#last ? 0 : seq
    try {
      while (!signal.aborted) {
        const next = this.#after(at)
        if (next) {
          at = next.seq
          await send(next.name, next.data, next.seq)
        } else if (this.#isOver) return
        else await new Promise<void>((resolve) => void this.#wakes.add(resolve))
      }
    } finally {
      this.#watchers -= 1
      signal.removeEventListener('abort', wake)
    }
  }

  end(): void {
    this.#isOver = true
    this.#wake()
  }

  #after(seq: number): Frame | undefined {
    const first = this.#frames[0]
    return first && this.#frames[Math.max(0, seq + 1 - first.seq)]
  }

  #wake(): void {
    for (const wake of this.#wakes) wake()
    this.#wakes.clear()
  }
}

export type WatchSend = (name: FrameName, data: string, seq: number) => ReturnType<Send>
