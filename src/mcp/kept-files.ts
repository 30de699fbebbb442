import type { Clock, Timer } from '../contract/clock.ts'

/** Time for which the files of a call can be read. */
export const keptMinutes = 15
const KEPT_MS = keptMinutes * 60_000
const SWEEP_MS = 60_000
/** Bytes of one file, of the files of one caller, and of all. A file counts with at least `FILE_COST_MIN`. */
const bounds = { file: 8 * 2 ** 20, own: 16 * 2 ** 20, all: 64 * 2 ** 20 }
const FILE_COST_MIN = 64 * 1024

/** File that a call left. */
export interface KeptFile {
  /** Id of the execution. */
  readonly run: string
  readonly path: string
  readonly bytes: Uint8Array
}

/** Files of the calls of one caller, oldest first. */
export interface OwnFiles {
  /** Keeps copies of the files of a run, small ones first. Those that are too large are left out, older ones of the caller dropped. */
  keep(run: string, files: readonly Pick<KeptFile, 'path' | 'bytes'>[]): void
  find(run: string, path: string): Uint8Array | undefined
  list(): readonly KeptFile[]
}

interface HeldFile extends KeptFile {
  readonly owner: string
  readonly until: number
}

/** Files that calls of agents left, in memory for some minutes. A caller sees its own alone. */
export class KeptFiles {
  readonly #clock: Clock
  #files: HeldFile[] = []
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(owner: string): OwnFiles {
    return {
      keep: (run, files) => this.#keep(owner, run, files),
      find: (run, path) =>
        this.#of(owner).find((one) => one.run === run && one.path === path)?.bytes,
      list: () => this.#of(owner).map(({ run, path, bytes }) => ({ run, path, bytes })),
    }
  }

  clear(): void {
    this.#files = []
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #of(owner: string): readonly HeldFile[] {
    const now = this.#clock.now()
    return this.#files.filter((one) => one.owner === owner && one.until > now)
  }

  #keep(owner: string, run: string, files: Parameters<OwnFiles['keep']>[1]): void {
    const until = this.#clock.now() + KEPT_MS
    let room = bounds.own
    for (const one of files.toSorted((a, b) => a.bytes.length - b.bytes.length)) {
      room -= costOf(one)
      if (one.bytes.length > bounds.file || room < 0) break
      // A copy, since the bytes may be a part of a larger buffer.
      this.#files.push({ owner, run, until, path: one.path, bytes: one.bytes.slice() })
    }
    while (sumOf(this.#files.filter((one) => one.owner === owner)) > bounds.own) this.#drop(owner)
    while (sumOf(this.#files) > bounds.all) this.#drop(this.#largest())
    this.#sweepLater()
  }

  #drop(owner: string): void {
    this.#files.splice(
      this.#files.findIndex((one) => one.owner === owner),
      1,
    )
  }

  #largest(): string {
    const sums = [...Map.groupBy(this.#files, ({ owner }) => owner)].map(
      ([owner, own]) => [owner, sumOf(own)] as const,
    )
    return sums.reduce((most, one) => (one[1] > most[1] ? one : most))[0]
  }

  #sweepLater(): void {
    if (this.#timer || this.#files.length === 0) return
    this.#timer = this.#clock.after(SWEEP_MS, () => {
      this.#timer = undefined
      const now = this.#clock.now()
      this.#files = this.#files.filter(({ until }) => until > now)
      this.#sweepLater()
    })
    this.#timer.asUpkeep?.()
  }
}

const costOf = ({ bytes }: Pick<KeptFile, 'bytes'>): number => Math.max(bytes.length, FILE_COST_MIN)

function sumOf(files: readonly KeptFile[]): number {
  return files.reduce((sum, one) => sum + costOf(one), 0)
}
