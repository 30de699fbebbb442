/**
 * Finds the small bundle, which answers a plain `mayfly run` by a server that is there, and starts the server of a root's single
 * run; and holds the rules by which either bundle counts. `bundle.js` has those of the large one, and nothing here loads it.
 *
 * Problem. A run by a server needs fifty modules of seven hundred; reading, hashing and loading all of them took most of
 * its time. Mechanism. A package brings the small one along. A checkout has an index of it in the folder of its bundles: its
 * name, which is its hash, what `stat` said of it when the maker had written it, and its sources. Index and bundle count
 * only where this user or root owns them and each folder above, nobody else may write there, and no link leads there. The
 * content of the bundle counts, as that of a source does, while its `stat` on the open descriptor is the one of the index,
 * and else by its hash: every write changes the time of the inode, which no call can set. The bytes on that descriptor are
 * run, whatever becomes of the file.
 *
 * Built-ins come from `process.getBuiltinModule`: an import of one reads all that it exports, and some of that loads more.
 */
import { isSafeParent, ownCache, parentsOf } from './cache-folder.js'
import { codeFile, scriptOf } from './kept-code.js'

const { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, statSync } =
  process.getBuiltinModule('node:fs')
const { join } = process.getBuiltinModule('node:path')

/** Folder of Mayfly, with a separator at its end. */
export const ownRoot = join(import.meta.dirname, '..', '/')
/** Names of small bundles: hash of the file. */
export const SMALL_NAME = /^small-([0-9a-f]{64})$/
const HOME = /^[0-9a-f]{16}$/
/** Longest name of a file, with room for what a maker appends. */
const NAME_BYTES_MAX = 200
const BYTES_MAX = 32 * 2 ** 20
const CACHE_OF_ROOT = '/var/cache/mayfly/bundle'
const OTHERS = 0o022
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants

/**
 * @typedef {readonly (readonly [path: string, sha256: string, stat: string | null])[]} Inputs
 * @typedef {{ readonly bytes: Buffer, readonly key: string, readonly isFresh: boolean }} SmallBundle
 *   `key` is of the content; `isFresh` is false where a stat has changed and the content has not
 * @typedef {{
 *   runPlain(argv: readonly string[]): Promise<boolean>,
 *   startAhead(argv: readonly string[]): Promise<unknown>,
 * }} Small
 */

/**
 * The small bundle of the sources as they are now; undefined if there is none.
 *
 * @param {string} root
 * @param {readonly string[]} bases folders with one for each root
 * @returns {SmallBundle | undefined}
 */
export function findSmall(root = ownRoot, bases = basesHere()) {
  const place = indexOf(root)
  return place === undefined ? undefined : firstOf(bases, (base) => readSmall(base, place, root))
}

/** Name of the index in a folder of bundles; undefined where it would be too long. @param {string} root */
export function indexOf(root) {
  const name = `small${encodeURIComponent(root)}`
  return name.length > NAME_BYTES_MAX ? undefined : name
}

/** Root of an index; undefined for any other name. @param {string} name */
export function rootOf(name) {
  return name.startsWith('small%') ? decodeURIComponent(name.slice('small'.length)) : undefined
}

/** @param {string} base @param {string} place @param {string} root @returns {SmallBundle | undefined} */
function readSmall(base, place, root) {
  const index = readWhole(join(base, place))
  if (!index) return undefined
  const { home, name, stat, inputs } = JSON.parse(index.toString())
  if (!HOME.test(home) || !SMALL_NAME.test(name) || !isTrusted(join(base, home))) return undefined
  const { isSame, isFresh } = compare(inputs, root)
  if (!isSame) return undefined
  let isKnown = false
  const bytes = readTrusted(join(base, home, name), (all, facts) => {
    isKnown = stat === textOf(facts)
    return isKnown || name.endsWith(`-${hashOfBytes(all)}`)
  })
  return bytes && { bytes, key: name, isFresh: isFresh && isKnown }
}

/** The small bundle of a package. @returns {SmallBundle} */
export function packedSmall() {
  const file = join(ownRoot, 'dist/small.js')
  return { bytes: readFileSync(file), key: statOf(file) ?? '', isFresh: true }
}

/**
 * Runs these very bytes, under a URL of their own in the root.
 *
 * @param {Pick<SmallBundle, 'bytes' | 'key'>} bundle
 * @param {{
 *   readonly root?: string, readonly folder?: string | undefined, readonly place?: string, readonly use?: string,
 * }} options folder of compiled code
 * @returns {Small}
 */
export function openSmall({ bytes, key }, options = {}) {
  const { root = ownRoot, folder, place = 'bundle', use = 'small' } = options
  const url = urlOf(root, `${place}/small.js`)
  const file = codeFile(folder, use, root)
  // esbuild writes ASCII.
  const { script, keep } = scriptOf(bytes.latin1Slice(), { url, key, file, read: readWhole })
  const { runPlain, startAhead } = script.runInThisContext()(url)
  return {
    async runPlain(argv) {
      const isRun = await runPlain(argv, keep)
      if (isRun) keep()
      return isRun
    },
    async startAhead(argv) {
      const started = await startAhead(argv)
      if (started) keep()
      return started
    },
  }
}

/** Node's own function loads the URLs of its past, a millisecond. @param {string} root @param {string} place */
export function urlOf(root, place) {
  if (root === ownRoot) return new URL(`../${place}`, import.meta.url).href
  return process.getBuiltinModule('node:url').pathToFileURL(join(root, place)).href
}

/** @param {string} file */
export function readWhole(file) {
  return readTrusted(file, () => true)
}

/**
 * @template T
 * @param {readonly string[]} bases
 * @param {(base: string) => T | undefined} find in a folder that only this user or root can change
 * @returns {T | undefined}
 */
export function firstOf(bases, find) {
  for (const base of bases)
    try {
      if (!isTrusted(base) || !parentsOf(base).every(isSafeParent)) continue
      const found = find(base)
      if (found) return found
    } catch {
      // No such folder, or it is closed to this user.
    }
  return undefined
}

/** Folder that this user's makers write to. */
export function ownBase() {
  if (process.getuid?.() === 0) return CACHE_OF_ROOT
  return join(ownCache(), 'bundle')
}

export function basesHere() {
  // Windows has no uids to compare.
  if (!process.getuid) return []
  try {
    if (isSteppedDown()) return [CACHE_OF_ROOT]
    return [...new Set([ownBase(), CACHE_OF_ROOT])]
  } catch {
    return [CACHE_OF_ROOT]
  }
}

/** True for the server of a root warden: a HOME that its uid may write to would let it choose the code of the next one. */
function isSteppedDown() {
  return Boolean(process.env.MAYFLY_ROLE) && JSON.parse(process.env.MAYFLY_ROLE).shutOut === null
}

/** True for a user whose files this process runs. @param {number} uid */
function isTrustedOwner(uid) {
  return uid === 0 || uid === process.getuid?.()
}

/** @param {string} folder */
export function isTrusted(folder) {
  const facts = lstatSync(folder)
  return facts.isDirectory() && isTrustedOwner(facts.uid) && (facts.mode & OTHERS) === 0
}

/** Sources now and when they were joined. @param {Inputs} inputs @param {string} root */
export function compare(inputs, root) {
  const changed = inputs.filter(([path, , stat]) => stat !== statOf(`${root}/${path}`))
  return {
    isSame: changed.every(([path, sha256]) => sha256 === hashOf(join(root, path))),
    isFresh: changed.every(([, , stat]) => stat === null),
  }
}

/**
 * Bytes of a file that nobody else could have written, and that is whole.
 *
 * @param {string} file
 * @param {(bytes: Buffer, facts: import('node:fs').Stats) => boolean} isWhole
 */
export function readTrusted(file, isWhole) {
  const fd = openPlain(file)
  if (fd === undefined) return undefined
  try {
    const facts = fstatSync(fd)
    const { uid, mode, nlink, size } = facts
    const isPlain = facts.isFile() && nlink === 1 && size <= BYTES_MAX
    if (!isPlain || !isTrustedOwner(uid) || (mode & OTHERS) !== 0) return undefined
    const bytes = readFileSync(fd)
    return isWhole(bytes, facts) ? bytes : undefined
  } finally {
    closeSync(fd)
  }
}

/** Follows no link, and waits for no writer of a FIFO. @param {string} file */
function openPlain(file) {
  try {
    return openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch {
    return undefined
  }
}

/** Changes with any write to a file and with another file in its place; null if it is missing. @param {string} file */
export function statOf(file) {
  const facts = statSync(file, { throwIfNoEntry: false })
  return facts ? textOf(facts) : null
}

/** @param {import('node:fs').Stats} facts */
function textOf({ ino, size, mtimeMs, ctimeMs }) {
  return `${ino} ${size} ${mtimeMs} ${ctimeMs}`
}

/** @param {string} file */
function hashOf(file) {
  try {
    return hashOfBytes(readFileSync(file))
  } catch {
    return undefined
  }
}

/** SHA-256 of any length. @param {string | Uint8Array} data */
export function hashOfBytes(data) {
  return process.getBuiltinModule('node:crypto').hash('sha256', data, 'hex')
}
