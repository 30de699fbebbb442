import type { FrameName, Send } from './frames.ts'

/** Characters stored of one running job, with an overhead per frame; the newest frame is stored whatever its size. */
const keptCharsMax = 65_536
const frameChars = 64
const watchersMax = 8

interface Frame {
  /** Sequence number from 1; a gap shows frames that were dropped. */
  readonly seq: number
  readonly name: FrameName
  readonly data: string
}

/**
 * Ring of the last frames of a running job, for readers that connect later. Readers pull at their own speed without
 * back-pressure on the job; frames evicted before they are read are lost to that reader.
 */
export class LiveOutput {
  readonly #frames: Frame[] = []
  readonly #wakes = new Set<() => void>()
  #chars = 0
  #last = 0
  #watchers = 0
  #isOver = false

  /** Implements `Send` without back-pressure. */
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

  /** Sends stored frames after `seq`, then live ones; resolves when the job ends or `signal` aborts. */
  async watch(seq: number, signal: AbortSignal, send: WatchSend): Promise<void> {
    const wake = (): void => this.#wake()
    signal.addEventListener('abort', wake)
    this.#watchers += 1
    // Ahead of this job, e.g. an id of another server: starts over.
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
