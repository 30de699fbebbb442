import { sha256 } from '../../lib/hash.ts'

/** First reads that are remembered for one tenant: 2 MB. */
const firstReadsMax = 20_000
/** For all tenants: 20 MB. */
const allFirstReadsMax = 200_000
const digestChars = 16

interface Reads {
  /** The newest jobs' reads, sorted. */
  readonly kept: string[]
  /** Highest that is remembered no more. */
  mark: string
}

/**
 * First reads of artifacts, for which their jobs were charged. Beyond `firstReadsMax` those of the oldest jobs are
 * forgotten, and all of such jobs count as read: whoever reads new artifacts once reads each for the first time, and whoever
 * reads more of them in turn is charged from the second time on. Beyond `allFirstReadsMax` so are those of the tenant that has
 * read nothing new for longest.
 */
export class FirstReads {
  /** By tenant, the one that remembered last at the end. */
  readonly #reads = new Map<string, Reads>()
  #count = 0

  /** `id` is that of the execution: ids sort by time. */
  isFirst(tenant: string, id: string, path: string): boolean {
    const reads = this.#reads.get(tenant)
    if (!reads) return true
    const read = readOf(id, path)
    return read > reads.mark && reads.kept[indexOf(reads.kept, read)] !== read
  }

  remember(tenant: string, id: string, path: string): void {
    if (!this.isFirst(tenant, id, path)) return
    const reads = this.#reads.get(tenant) ?? { kept: [], mark: '' }
    this.#reads.delete(tenant)
    this.#reads.set(tenant, reads)
    const read = readOf(id, path)
    reads.kept.splice(indexOf(reads.kept, read), 0, read)
    this.#count++
    if (reads.kept.length > firstReadsMax) this.#forget(reads, 1)
    if (this.#count <= allFirstReadsMax) return
    const idle = this.#reads.values().find(({ kept }) => kept.length > 0)
    if (idle) this.#forget(idle, idle.kept.length)
  }

  #forget(reads: Reads, count: number): void {
    const oldest = reads.kept.splice(0, count)
    reads.mark = oldest.at(-1) ?? reads.mark
    this.#count -= oldest.length
  }
}

function readOf(id: string, path: string): string {
  return `${id} ${sha256(path).slice(0, digestChars)}`
}

/** Index of the first that is not below `read`. */
function indexOf(sorted: readonly string[], read: string): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < read) low = middle + 1
    else high = middle
  }
  return low
}
