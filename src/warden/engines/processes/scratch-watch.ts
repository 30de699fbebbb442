import { lstatSync, statSync, type Stats } from 'node:fs'
import path from 'node:path'
import { attempt } from '../../../lib/attempt.ts'
import { asFileUser } from '../../../os/libc.js'
import { descriptorsOf } from '../../../os/proc.ts'
import { tryReadLink } from '../../../os/read.ts'
import { scratchInodesMax } from '../../../jail/whole.ts'
import { firstEntries, folderPathMax, hostileRoot, inFolder, pathBytes } from '../hostile-folder.ts'

/**
 * Disk usage of a wall whose scratch folder is on the host's file system, where no size limit of a mount applies. The
 * folder is walked incrementally; unlinked files that are still open are counted by the descriptors of the wall's
 * processes. Between two walks a program can exceed its bound.
 *
 * Relies on links below /proc/PID/fd, which the wall's own user may read (Docker gives root no CAP_SYS_PTRACE). Not
 * handled: an unlinked file that is mapped and has no open descriptor.
 */
const ENTRIES_A_LOOK = 256
/** Milliseconds from the end of a walk to the next one. */
const REST_MS = 50
const BLOCK_BYTES = 512
const DESCRIPTORS_MAX = 1024
const REMOVED = ' (deleted)'

export class ScratchWatch {
  readonly #folder: string
  readonly #bytesMax: number
  /** Uid of the wall, if it has one of its own. */
  readonly #uid: number | undefined
  #walk: Generator<number> | undefined
  #bytes = 0
  #entries = 0
  #restsUntil = 0
  #isOver = false

  constructor(folder: string, bytesMax: number, uid: number | undefined) {
    this.#folder = folder
    this.#bytesMax = bytesMax
    this.#uid = uid
  }

  /** True while a walk is incomplete. */
  get isWalking(): boolean {
    return this.#walk !== undefined
  }

  /** Continues the walk; true once the wall exceeds its limit of files or bytes. */
  check(pids: readonly number[], now: number): boolean {
    if (this.#isOver || now < this.#restsUntil) return this.#isOver
    this.#walk ??= this.#begin(pids)
    for (let step = 0; step < ENTRIES_A_LOOK; step++) {
      const next = this.#walk.next()
      if (!next.done) {
        this.#bytes += next.value
        this.#entries++
      }
      this.#isOver = this.#bytes > this.#bytesMax || this.#entries > scratchInodesMax
      if (next.done) {
        this.#walk = undefined
        this.#restsUntil = now + REST_MS
        break
      }
      if (this.#isOver) break
    }
    return this.#isOver
  }

  #begin(pids: readonly number[]): Generator<number> {
    this.#entries = 0
    const look = () => removedBytesOf(pids, this.#folder)
    this.#bytes = this.#uid === undefined ? look() : asFileUser(this.#uid, look)
    return sizesIn(this.#folder)
  }
}

/**
 * Bytes of each entry below a folder; hard links count once. Infinity for a folder that no path can name, or whose entries
 * alone are too many.
 */
function* sizesIn(folder: string): Generator<number> {
  const root = hostileRoot(folder)
  const folders = [root]
  const linked = new Set<number>()
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    const names = inFolder(at, root, namesIn) ?? []
    if (names.length > scratchInodesMax) yield Infinity
    for (let from = 0; from < names.length; from += ENTRIES_A_LOOK) {
      const some = names.slice(from, from + ENTRIES_A_LOOK)
      for (const [name, facts] of inFolder(at, root, (own) => factsIn(own, some)) ?? []) {
        const place = path.join(at, name)
        if (facts.isDirectory() && place.length > folderPathMax) yield Infinity
        if (facts.isDirectory()) folders.push(place)
        yield facts.nlink > 1 && !facts.isDirectory() && linked.has(facts.ino) ? 0 : bytesIn(facts)
        if (facts.nlink > 1) linked.add(facts.ino)
      }
    }
  }
}

/** As many names as say that there are too many; none if it cannot be read. */
function namesIn(folder: string): readonly string[] {
  return attempt(() => firstEntries(folder, scratchInodesMax + 1).map(({ name }) => name)) ?? []
}

const bytesIn = ({ blocks }: Stats) => blocks * BLOCK_BYTES

function factsIn(folder: string, names: readonly string[]): readonly (readonly [string, Stats])[] {
  return names.flatMap((name) => {
    const facts = attempt(() => lstatSync(pathBytes(path.join(folder, name))))
    return facts ? [[name, facts] as const] : []
  })
}

function removedBytesOf(pids: readonly number[], folder: string): number {
  const seen = new Set<number>()
  let bytes = 0
  for (const pid of pids)
    for (const number of descriptorsOf(pid).slice(0, DESCRIPTORS_MAX)) {
      const facts = removedAt(`/proc/${pid}/fd/${number}`, folder)
      if (!facts || seen.has(facts.ino)) continue
      seen.add(facts.ino)
      bytes += bytesIn(facts)
    }
  return bytes
}

/** A removed file. The kernel names none that was deeper than a path can be: such a one counts wherever it was. */
function removedAt(link: string, folder: string): Stats | undefined {
  const to = tryReadLink(link)
  if (to !== undefined && !(to.startsWith(`${folder}/`) && to.endsWith(REMOVED))) return undefined
  const facts = attempt(() => statSync(link))
  return to === undefined && facts?.nlink !== 0 ? undefined : facts
}
