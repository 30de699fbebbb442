/**
 * What a job left below `out/`: plain files alone. A link of any kind, a pipe, a device, what is too large or too much
 * is left out by name, with the reason. It runs with no more rights than the job had.
 */
import fs from 'node:fs'

const FILES_MAX = 1000
const LEFT_OUT_MAX = 200
const FILE_BYTES_MAX = 32 * 2 ** 20 - 65_536
const DEPTH_MAX = 32
const PATH_CHARS_MAX = 1024
const { closeSync, constants, fstatSync, openSync, readdirSync, readSync } = fs
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const { alloc } = Buffer
const { bind, call } = Function.prototype
const [cut, isDirectory, isFile, sort, subarray] = [
  String.prototype.slice,
  fs.Stats.prototype.isDirectory,
  fs.Stats.prototype.isFile,
  Array.prototype.sort,
  Uint8Array.prototype.subarray,
].map((method) => bind.call(call, method))
const hasProc = fs.existsSync('/proc/self/fd')

/**
 * @param {string} root
 * @param {number} bytesMax of all together
 * @param {(path: string, bytes: Uint8Array) => void} give
 * @returns {{ path: string, because: string }[]} what was left out
 */
export function gatherArtifacts(root, bytesMax, give) {
  /** @type {{ path: string, because: string }[]} */
  const leftOut = []
  let [files, bytes] = [0, 0]
  const leave = (/** @type {string} */ path, /** @type {string} */ because) => {
    if (leftOut.length < LEFT_OUT_MAX)
      leftOut[leftOut.length] = { path: cut(path, 0, PATH_CHARS_MAX), because }
  }

  /** @param {number} folder @param {string} at @param {number} depth */
  function walk(folder, at, depth) {
    const below = hasProc ? `/proc/self/fd/${folder}` : `${root}/${at}`
    const names = sort(readdirSync(below))
    for (let index = 0; index < names.length; index++) {
      const path = at + names[index]
      attempt(leave, path, () => {
        const fd = openSync(`${below}/${names[index]}`, FILE)
        try {
          take(fd, path, depth)
        } finally {
          closeSync(fd)
        }
      })
    }
  }

  /** @param {number} fd @param {string} path @param {number} depth */
  function take(fd, path, depth) {
    const stat = fstatSync(fd)
    if (isDirectory(stat)) {
      if (depth === DEPTH_MAX) leave(path, 'it is nested too deep')
      else walk(fd, `${path}/`, depth + 1)
      return
    }
    const because = reason(stat, files, bytes, bytesMax)
    if (because) return leave(path, because)
    files++
    bytes += stat.size
    give(path, contentOf(fd, stat.size))
  }

  attempt(
    () => undefined,
    '',
    () => {
      const fd = openSync(root, FOLDER)
      walk(fd, '', 0)
      closeSync(fd)
    },
  )
  return leftOut
}

/** @param {import('node:fs').Stats} stat @param {number} files @param {number} bytes @param {number} bytesMax */
function reason(stat, files, bytes, bytesMax) {
  if (!isFile(stat)) return 'it is no plain file'
  if (stat.nlink > 1) return 'it has more than one name'
  if (files >= FILES_MAX) return `there are more than ${FILES_MAX}`
  if (stat.size > FILE_BYTES_MAX || bytes + stat.size > bytesMax) return 'it is too large'
  return undefined
}

/** A file that shrinks meanwhile is as long as it is. @param {number} fd @param {number} size */
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
    if (code === 'ELOOP' || code === 'EMLINK') leave(path, 'it is a link')
    else if (code === 'ENXIO') leave(path, 'it is no plain file')
    else if (code !== undefined) leave(path, 'it cannot be read')
    else throw error
  }
}
