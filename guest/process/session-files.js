/**
 * Files of a session's working folder, read and written while its code may change them (TOCTOU): folders are opened one by
 * one, and where a link led is read on the descriptor. Opens never block on a pipe or a device.
 */
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { placeBelow, SCRIPT_MODE } from './ground.js'
import { FRAME_BYTES_MAX } from './wire.js'

const DATE_MS_MAX = 8_640_000_000_000_000
const ENTRIES_MAX = 1000
const DEPTH_MAX = 64
const PATH_CHARS_MAX = 1024
const MESSAGE_CHARS_MAX = 1024
/** The server limits the head of a frame, and JSON escapes a control character with six bytes. */
const HEAD_BYTES_MAX = 256 * 1024
const LISTED_BYTES_MAX = 240 * 1024
const FILE_BYTES_MAX = FRAME_BYTES_MAX - HEAD_BYTES_MAX
const OF_RUNNER = '.mayfly-'
const CODES = /** @type {Record<string, string>} */ ({
  ENOENT: 'NOT_FOUND',
  ENOSPC: 'DISK',
  EDQUOT: 'DISK',
  EFBIG: 'DISK',
})
const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants
const FOLDER = O_RDONLY | O_DIRECTORY

/** @typedef {{ id: string, op: string, path: string, bytesMax?: number }} FileRequest */
/** @typedef {{ path: string, type: 'file' | 'folder' | 'link' | 'other', size: number, modifiedMs: number }} Entry */
/** @typedef {{ error?: { code: string, message: string }, entries?: Entry[], truncated?: boolean, size?: number, bytes?: Buffer }} FileAnswer */

/** @param {string} work @param {FileRequest} request @param {Uint8Array} bytes @returns {FileAnswer} */
export function serveFile(work, request, bytes) {
  try {
    const root = fs.realpathSync(work)
    if (request.op === 'put') return put(root, request, bytes)
    if (request.op === 'get') return get(root, request)
    if (request.op === 'list') return list(root, request)
    throw new Refusal('INVALID', `Cannot serve "${request.op}": no such operation`)
  } catch (error) {
    const { code, message } = refusalOf(error, request)
    return { error: { code, message: message.slice(0, MESSAGE_CHARS_MAX) } }
  }
}

class Refusal extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

/** @param {any} error @param {FileRequest} request */
function refusalOf(error, { op, path: place }) {
  if (error instanceof Refusal) return { code: error.code, message: error.message }
  const code = CODES[error?.code] ?? 'INVALID'
  const why = code === 'NOT_FOUND' ? 'it is not there' : String(error?.code ?? 'it is no path')
  return { code, message: `Cannot ${op} "${place.slice(0, PATH_CHARS_MAX)}": ${why}` }
}

/** @param {string} root @param {FileRequest} request @param {Uint8Array} bytes @returns {FileAnswer} */
function put(root, { path: place }, bytes) {
  const to = below(root, place)
  return inFolder(root, { to: path.dirname(to), place, makes: true }, (folder) =>
    putIn(folder, path.basename(to), bytes, place),
  )
}

/** @param {string} folder @param {string} name @param {Uint8Array} bytes @param {string} place @returns {FileAnswer} */
function putIn(folder, name, bytes, place) {
  const to = `${folder}/${name}`
  const before = fs.lstatSync(to, { throwIfNoEntry: false })
  if (before?.isDirectory()) throw new Refusal('INVALID', `Cannot put "${place}": it is a folder`)
  const isScript = bytes[0] === 35 && bytes[1] === 33
  const mode = before?.isFile() ? before.mode & 0o777 : isScript ? SCRIPT_MODE : 0o644
  const temporary = `${folder}/${OF_RUNNER}${randomUUID()}`
  try {
    fs.writeFileSync(temporary, bytes, { flag: 'wx', mode })
    fs.chmodSync(temporary, mode)
    fs.renameSync(temporary, to)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  }
  return { size: bytes.length }
}

/** @param {string} root @param {FileRequest} request @returns {FileAnswer} */
function get(root, { path: place, bytesMax = FILE_BYTES_MAX }) {
  const from = below(root, place)
  const fd = inFolder(root, { to: path.dirname(from), place }, (folder) =>
    fs.openSync(`${folder}/${path.basename(from)}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
  )
  try {
    const stat = fs.fstatSync(fd)
    if (!stat.isFile()) throw new Refusal('INVALID', `Cannot get "${place}": it is no plain file`)
    const max = Math.min(bytesMax, FILE_BYTES_MAX)
    if (stat.size > max)
      throw new Refusal('TOO_LARGE', `Cannot get "${place}": ${stat.size} bytes, of at most ${max}`)
    const bytes = Buffer.allocUnsafe(stat.size)
    let at = 0
    for (let read = -1; read !== 0 && at < bytes.length; at += read)
      read = fs.readSync(fd, bytes, at, bytes.length - at, at)
    return { size: at, bytes: bytes.subarray(0, at) }
  } finally {
    fs.closeSync(fd)
  }
}

/** @param {string} root @param {FileRequest} request @returns {FileAnswer} */
function list(root, { path: place }) {
  const from = path.resolve(root, place) === root ? root : below(root, place)
  if (!fs.lstatSync(from).isDirectory())
    throw new Refusal('INVALID', `Cannot list "${place}": it is no folder`)
  /** @type {Entry[]} */
  const entries = []
  const shown = path.relative(root, from)
  const isAll = inFolder(root, { to: from, place }, (folder) =>
    gather({ folder, shown }, '', entries, 0),
  )
  let bytes = 0
  const over = entries.findIndex(
    (entry) => (bytes += Buffer.byteLength(JSON.stringify(entry)) + 1) > LISTED_BYTES_MAX,
  )
  if (over >= 0) entries.length = over
  const truncated = !isAll || over >= 0
  return truncated ? { entries, truncated } : { entries }
}

/** @typedef {{ folder: string, shown: string }} Top folder that is listed, as opened and as shown */

/** Returns false if the list was truncated. @param {Top} top @param {string} inner @param {Entry[]} entries @param {number} depth @returns {boolean} */
function gather(top, inner, entries, depth) {
  const { names, isAll } = namesIn(top.folder + inner, ENTRIES_MAX - entries.length)
  for (const name of names) {
    if (entries.length >= ENTRIES_MAX) return false
    const at = `${inner}/${name}`
    const entry = entryOf(top, at)
    if (!entry) continue
    entries.push(entry)
    if (entry.type !== 'folder') continue
    if (depth >= DEPTH_MAX || !gather(top, at, entries, depth + 1)) return false
  }
  return isAll
}

/** Returns at most `max` names. @param {string} folder @param {number} max */
function namesIn(folder, max) {
  /** @type {string[]} */
  const names = []
  let isAll = true
  try {
    const open = fs.opendirSync(folder)
    try {
      for (let entry = open.readSync(); entry; entry = open.readSync()) {
        if (entry.name.startsWith(OF_RUNNER)) continue
        if (names.length === max) {
          isAll = false
          break
        }
        names.push(entry.name)
      }
    } finally {
      open.closeSync()
    }
  } catch {
    // Unreadable, or deleted (race).
  }
  return { names: names.sort(), isAll }
}

/** @param {Top} top @param {string} at @returns {Entry | undefined} */
function entryOf({ folder, shown }, at) {
  const place = (shown + at).replace(/^\//, '')
  const stat = fs.lstatSync(folder + at, { throwIfNoEntry: false })
  if (!stat || place.length > PATH_CHARS_MAX) return undefined
  const { size } = stat
  // Clamped to the range of Date: a file may have any time.
  const modifiedMs = Math.min(Math.max(0, Math.trunc(stat.mtimeMs)), DATE_MS_MAX)
  if (stat.isFile()) return { path: place, type: 'file', size, modifiedMs }
  if (stat.isDirectory()) return { path: place, type: 'folder', size: 0, modifiedMs }
  if (stat.isSymbolicLink()) return { path: place, type: 'link', size, modifiedMs }
  return { path: place, type: 'other', size: 0, modifiedMs }
}

/** @param {string} root @param {string} place */
function below(root, place) {
  const isPath = typeof place === 'string' && !place.includes('\0') && place.isWellFormed()
  if (!isPath || place.length > PATH_CHARS_MAX || place.endsWith('/'))
    throw new Refusal('INVALID', 'Cannot use the path: it names no file below the working folder')
  try {
    return placeBelow(root, path.isAbsolute(place) ? path.relative(root, place) : place)
  } catch {
    const why = 'it is not below the working folder'
    throw new Refusal('INVALID', `Cannot use "${place}": ${why}`)
  }
}

/**
 * Runs `act` on the path of an open folder below the root; `makes` makes the folder. A link may lead to another folder below
 * the root, and no further. @template T @param {string} root
 * @param {{ to: string, place: string, makes?: boolean }} asked @param {(folder: string) => T} act @returns {T}
 */
function inFolder(root, { to, place, makes = false }, act) {
  let fd = fs.openSync(root, FOLDER)
  try {
    for (const step of path.relative(root, to).split('/').filter(Boolean)) {
      if (makes) makeFolder(`${ofHandle(fd)}/${step}`)
      const inner = fs.openSync(`${ofHandle(fd)}/${step}`, FOLDER)
      fs.closeSync(fd)
      fd = inner
      const real = fs.readlinkSync(ofHandle(fd))
      if (real !== root && !real.startsWith(`${root}/`))
        throw new Refusal(
          'INVALID',
          `Cannot use "${place}": a link leads out of the working folder`,
        )
    }
    return act(ofHandle(fd))
  } finally {
    fs.closeSync(fd)
  }
}

/** @param {number} fd */
const ofHandle = (fd) => `/proc/self/fd/${fd}`

/** @param {string} folder */
function makeFolder(folder) {
  try {
    fs.mkdirSync(folder)
  } catch (error) {
    if (/** @type {any} */ (error).code !== 'EEXIST') throw error
  }
}
