/**
 * Gathers a job's artifacts: regular files below its working folder, except unchanged inputs and folders of
 * tools. Links, pipes, devices and files over a limit are left out by name, with the reason. Runs with the
 * job's rights only, and with intrinsics taken before the job ran.
 */
import fs from 'node:fs'
import { posix } from 'node:path'

const FILES_MAX = 1000
const LEFT_OUT_MAX = 200
/** Room for the list in the head of the end, which also has an error: a longer head is not read. */
const LEFT_OUT_BYTES_MAX = 64 * 2 ** 10
const FILE_BYTES_MAX = 32 * 2 ** 20 - 65_536
const DEPTH_MAX = 32
/** Files whose state is recorded before a run; more of them count as new. */
const KNOWN_MAX = 100_000
const PATH_CHARS_MAX = 1024
const NAMED_CHARS_MAX = 100
const OUT = 'out'
/** Key of the working folder itself among the known files. */
const WHOLE = '.'
/** Folders of tools; so are all with a leading dot. */
const OF_TOOLS = /^(?:\..*|__pycache__|node_modules)$/
/** Without namespaces the temporary folder is the working folder. */
const OF_RUNNER = '.mayfly-'
const NOT_PLAIN = /[\p{Cc}\\]/u
/** Character in place of bytes of a name that are not UTF-8: the file cannot be opened by such a name. */
const REPLACED = /\ufffd/
/** Known state of a file with such a name. */
const NO_FACTS = ''
/** Two changes within this time may have equal timestamps: a kernel tick takes up to 10 ms. */
const SETTLED_MS = 100
const { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readSync } = fs
const { now } = Date
const { normalize } = posix
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const { alloc, byteLength, compare, from } = Buffer
const { stringify } = JSON
const { create, getPrototypeOf } = Object
const BIG = /** @type {const} */ ({ bigint: true })
const stats = getPrototypeOf(fs.statSync('/', BIG))
const { bind, call } = Function.prototype
const [cut, startsWith, test, isDirectory, isFile, sort, subarray] = [
  String.prototype.slice,
  String.prototype.startsWith,
  RegExp.prototype.test,
  stats.isDirectory,
  stats.isFile,
  Array.prototype.sort,
  Uint8Array.prototype.subarray,
].map((method) => bind.call(call, method))
const hasProc = fs.existsSync('/proc/self/fd')

/** @typedef {{ path: string, content: string, encoding: 'utf8' | 'base64', type?: string }} Brought */
/** @typedef {Record<string, { facts: string, content?: () => Buffer }>} Known existing files, by path */

/**
 * Working folder that contained nothing but an empty `out/` before its job, with the stat fields of that folder: while
 * they are the same, it is empty. `workFacts` are those of the working folder once its main file was made as well.
 * @type {{ work: string, outFacts: string, workFacts?: string, madeMs: number } | undefined}
 */
let empty

/**
 * Makes `out/` ahead of the job. In a working folder without other files the job's end needs no reading of an unchanged
 * `out/`, and its release no reading of the folder. @param {string} work
 */
export function makeOut(work) {
  const isEmpty = readdirSync(work).length === 0
  fs.mkdirSync(`${work}/${OUT}`, { recursive: true })
  const outFacts = factsOf(lstatSync(`${work}/${OUT}`, BIG))
  empty = isEmpty ? { work, outFacts, madeMs: now() } : undefined
}

/**
 * Records the working folder with the main file that the runner made ahead in it: while its stat fields are the same, no
 * entry was made or removed. @param {string} work
 */
export function knowMade(work) {
  if (empty?.work !== work) return
  empty = { ...empty, workFacts: factsOf(lstatSync(work, BIG)), madeMs: now() }
}

/** Lets a rehearsal take the path of a runner that waited. */
export function pretendToHaveWaited() {
  if (empty) empty.madeMs = -Infinity
}

/** True if the working folder had nothing but `out/` before the job. @param {string} work */
export function isOutMade(work) {
  return empty?.work === work
}

/**
 * Records the working folder before the job; rewritten inputs are compared by content.
 * @param {string} work @param {readonly Brought[]} files @param {readonly string[]} laid other paths that the runner wrote
 * @returns {Known}
 */
export function knownFiles(work, files, laid = []) {
  const known = empty?.work === work ? laidFiles(empty, files, laid) : standingFiles(work)
  for (const { path, content, encoding, type } of files) {
    const one = known[path]
    // Files sent ahead are not kept in memory here, so a rewritten one counts as changed.
    if (one && type !== 'link' && type !== 'sent') one.content = () => from(content, encoding)
  }
  return known
}

/**
 * The same without reading the folder, which was empty.
 * @param {NonNullable<typeof empty>} before @param {readonly Brought[]} files @param {readonly string[]} laid @returns {Known}
 */
function laidFiles({ work, outFacts, workFacts, madeMs }, files, laid) {
  /** @type {Known} */
  const known = create(null)
  if (now() - madeMs > SETTLED_MS) {
    known[OUT] = { facts: outFacts }
    if (workFacts !== undefined) known[WHOLE] = { facts: workFacts }
  }
  for (const path of [...laid, ...files.map((file) => normalize(file.path))])
    attempt(ignore, path, () => {
      const stat = lstatSync(`${work}/${path}`, BIG)
      if (!isDirectory(stat)) known[path] = { facts: factsOf(stat) }
    })
  return known
}

/**
 * The same for a folder that user code changes at the same time: bounded; skips files that vanish or cannot be read.
 * Enters `out/` last: whole folders of tools below it take none of the room of the other files.
 * @param {string} work @returns {Known}
 */
export function standingFiles(work) {
  /** @type {Known} */
  const known = create(null)
  let room = KNOWN_MAX
  let hasOut = false
  const below = (/** @type {string} */ at, /** @type {number} */ depth) => {
    for (const entry of readdirSync(`${work}/${at}`, { withFileTypes: true })) {
      if (--room < 0) return
      const path = at + entry.name
      if (test(REPLACED, entry.name)) known[path] = { facts: NO_FACTS }
      attempt(ignore, path, () => {
        if (!entry.isDirectory())
          known[path] = { facts: factsOf(lstatSync(`${work}/${path}`, BIG)) }
        else if (path === OUT) hasOut = true
        else if (isWalked(path, entry.name) && depth < DEPTH_MAX) below(`${path}/`, depth + 1)
      })
    }
  }
  attempt(ignore, '', () => below('', 0))
  if (hasOut) attempt(ignore, '', () => below(`${OUT}/`, 1))
  return known
}

/** Below `out/` folders of tools are artifacts like others. @param {string} path @param {string} name */
const isWalked = (path, name) => isBelowOut(path) || !test(OF_TOOLS, name)

const ignore = () => undefined

/**
 * Yields files below `out/`, relative to it, then the others.
 * @param {string} work
 * @param {number} bytesMax of all files together
 * @param {(path: string, bytes: Uint8Array) => void} give
 * @param {Known} known
 * @returns {readonly LeftOut[]} files left out, with the reason
 */
export function gatherArtifacts(work, bytesMax, give, known) {
  return new Gathering(work, bytesMax, give, known, false).run()
}

/**
 * The same for one exec of a session: only new and changed files, since `out/` may contain those of earlier execs.
 * @param {string} work @param {number} bytesMax @param {(path: string, bytes: Uint8Array) => void} give @param {Known} known
 */
export function gatherChanged(work, bytesMax, give, known) {
  return new Gathering(work, bytesMax, give, known, true).run()
}

/** @typedef {{ path: string, because: string }} LeftOut */

class Gathering {
  #work
  #bytesMax
  #give
  #known
  #isChangeOnly
  /** @type {LeftOut[]} */
  #leftOut = []
  #leftOutBytes = 0
  /** Paths as shown. @type {Record<string, true>} */
  #given = create(null)
  #files = 0
  #bytes = 0
  /** Number of left-out files beyond the limit of the list. */
  #unnamed = 0
  #hasOut = false

  /**
   * @param {string} work @param {number} bytesMax
   * @param {(path: string, bytes: Uint8Array) => void} give @param {Known} known @param {boolean} isChangeOnly
   */
  constructor(work, bytesMax, give, known, isChangeOnly) {
    this.#work = work
    this.#bytesMax = bytesMax
    this.#give = give
    this.#known = known
    this.#isChangeOnly = isChangeOnly
  }

  run() {
    if (this.#isOutEmpty()) this.#hasOut = true
    else this.#root(`${this.#work}/${OUT}`, `${OUT}/`)
    if (!this.#isUnchanged()) this.#root(this.#work, '')
    const last = this.#leftOut[this.#leftOut.length - 1]
    if (last && this.#unnamed > 0) last.because += `; ${this.#unnamed} more are left out`
    return this.#leftOut
  }

  /** True if `out/` is the empty folder made before the job, unchanged since. */
  #isOutEmpty() {
    const before = this.#known[OUT]
    if (!before) return false
    try {
      const stat = lstatSync(`${this.#work}/${OUT}`, BIG)
      return isDirectory(stat) && before.facts === factsOf(stat)
    } catch {
      return false
    }
  }

  /** True if the working folder has no entry but `out/` and files that the runner wrote, which are unchanged. */
  #isUnchanged() {
    const known = this.#known
    if (!known[WHOLE]) return false
    try {
      for (const path in known) {
        const place = path === WHOLE ? this.#work : `${this.#work}/${path}`
        if (path !== OUT && known[path]?.facts !== factsOf(lstatSync(place, BIG))) return false
      }
      return true
    } catch {
      return false
    }
  }

  /** @param {string} folder @param {string} at */
  #root(folder, at) {
    const walk = () => {
      const fd = openSync(folder, FOLDER)
      this.#hasOut ||= at !== ''
      this.#walk(fd, at, 0)
      closeSync(fd)
    }
    attempt(() => undefined, '', walk)
  }

  /** @param {number} folder @param {string} at @param {number} depth */
  #walk(folder, at, depth) {
    const below = hasProc ? `/proc/self/fd/${folder}` : `${this.#work}/${at}`
    const names = sort(readdirSync(below))
    const leave = (/** @type {string} */ path, /** @type {string} */ because) =>
      this.#leave(path, because)
    for (let index = 0; index < names.length; index++) {
      const name = names[index] ?? ''
      const path = at + name
      if ((path === OUT && this.#hasOut) || this.#isSkipped(`${below}/${name}`, name, path))
        continue
      attempt(leave, path, () => {
        const fd = openSync(`${below}/${name}`, FILE)
        try {
          this.#take(fd, name, path, depth)
        } finally {
          closeSync(fd)
        }
      })
    }
  }

  /** @param {number} fd @param {string} name @param {string} path @param {number} depth */
  #take(fd, name, path, depth) {
    const stat = fstatSync(fd, BIG)
    const isOut = isBelowOut(path)
    if (isDirectory(stat)) {
      if (!isOut && test(OF_TOOLS, name)) return
      if (depth === DEPTH_MAX) this.#leave(path, 'it is nested too deep')
      else this.#walk(fd, `${path}/`, depth + 1)
      return
    }
    if ((!isOut || this.#isChangeOnly) && this.#isAsItWas(fd, stat, path)) return
    const shown = shownAs(path)
    const because = this.#reason(stat, path, shown)
    if (because) return this.#leave(path, because)
    this.#files++
    this.#bytes += Number(stat.size)
    this.#given[shown] = true
    this.#give(shown, contentOf(fd, Number(stat.size)))
  }

  /** @param {string} path @param {string} because */
  #leave(path, because) {
    const leftOut = this.#leftOut
    const shown = cut(shownAs(path), 0, PATH_CHARS_MAX)
    const bytes = this.#leftOutBytes + byteLength(stringify(shown)) + byteLength(because)
    if (leftOut.length === LEFT_OUT_MAX || bytes > LEFT_OUT_BYTES_MAX) {
      this.#unnamed++
      return
    }
    this.#leftOutBytes = bytes
    leftOut[leftOut.length] = { path: shown, because }
  }

  /** @param {import('node:fs').BigIntStats} stat @param {string} path @param {string} shown */
  #reason(stat, path, shown) {
    const size = Number(stat.size)
    const bytes = this.#bytes
    const bytesMax = this.#bytesMax
    if (!isFile(stat)) return 'it is no plain file'
    if (stat.nlink > 1n) return 'it has more than one name'
    if (test(NOT_PLAIN, path)) return 'its name is no text'
    if (shown.length > PATH_CHARS_MAX) return 'its path is too long'
    if (this.#given[shown]) return `there is another ${cut(shown, 0, NAMED_CHARS_MAX)} already`
    if (this.#files >= FILES_MAX) return `there are more than ${FILES_MAX}`
    if (size > FILE_BYTES_MAX)
      return `it has ${size} bytes, and a single artifact at most ${FILE_BYTES_MAX}`
    if (bytes + size <= bytesMax) return undefined
    const left = bytesMax > bytes ? bytesMax - bytes : 0
    return `it is too large: ${size} bytes, with ${left} left of ${bytesMax}`
  }

  /**
   * A rewritten file may have its old content.
   * @param {number} fd @param {import('node:fs').BigIntStats} stat @param {string} path
   */
  #isAsItWas(fd, stat, path) {
    const before = this.#known[path]
    if (!before || !isFile(stat)) return false
    if (before.facts === factsOf(stat)) return true
    const content = before.content?.()
    if (!content || stat.size !== BigInt(content.length)) return false
    return compare(content, contentOf(fd, content.length)) === 0
  }

  /**
   * Decided without opening the file: reading a planted credential would be an anomaly, a tool's folder may be large, and a link
   * or a pipe that is as it was, below `out/` too, is no news of an exec.
   * @param {string} place @param {string} name @param {string} path
   */
  #isSkipped(place, name, path) {
    if (this.#known[path]?.facts === NO_FACTS) return true
    if (isBelowOut(path) && !this.#isChangeOnly) return false
    if (startsWith(path, OF_RUNNER)) return true
    try {
      const stat = lstatSync(place, BIG)
      if (isDirectory(stat)) return !isWalked(path, name)
      return this.#known[path]?.facts === factsOf(stat)
    } catch {
      return false
    }
  }
}

/** @param {string} path */
function isBelowOut(path) {
  return startsWith(path, `${OUT}/`)
}

/** Paths below `out/` are relative to it. @param {string} path */
function shownAs(path) {
  return isBelowOut(path) ? cut(path, OUT.length + 1) : path
}

/**
 * Stat fields that every write changes, and that its owner cannot reset.
 * @param {import('node:fs').BigIntStats} stat
 */
function factsOf({ ino, size, ctimeNs }) {
  return `${ino} ${size} ${ctimeNs}`
}

/** A shrinking file is read to its current end; growth is ignored. @param {number} fd @param {number} size */
function contentOf(fd, size) {
  const bytes = alloc(size)
  let at = 0
  for (let read = -1; read !== 0 && at < size; at += read)
    read = readSync(fd, bytes, at, size - at, at)
  return subarray(bytes, 0, at)
}

/** @param {(path: string, because: string) => void} leave @param {string} path @param {() => void} act */
function attempt(leave, path, act) {
  try {
    act()
  } catch (error) {
    const { code } = /** @type {{ code?: string }} */ (error)
    if (code === 'ENOENT') {
      if (test(REPLACED, path)) leave(path, 'its name is no text')
      return
    }
    if (code === 'ELOOP' || code === 'EMLINK') leave(path, 'it is a link')
    else if (code === 'ENXIO') leave(path, 'it is no plain file')
    else if (code !== undefined) leave(path, 'it cannot be read')
    else throw error
  }
}
