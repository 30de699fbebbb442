/**
 * What a job left below `out/`: plain files alone. A link of any kind, a pipe, a device, what is too large or too much
 * is left out by name, with the reason. It runs with no more rights than the job had.
 */
import fs from 'node:fs'

const FILES_MAX = 1000
const LEFT_OUT_MAX = 200
const FILE_BYTES_MAX = 32 * 2 ** 20 - 65_536
const DEPTH_MAX = 32
const { closeSync, constants, fstatSync, openSync, readdirSync, readSync } = fs
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
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
    if (leftOut.length < LEFT_OUT_MAX) leftOut.push({ path: path.slice(0, 1024), because })
  }
  const walk = (
    /** @type {number} */ folder,
    /** @type {string} */ at,
    /** @type {number} */ depth,
  ) => {
    const below = hasProc ? `/proc/self/fd/${folder}` : `${root}/${at}`
    for (const name of readdirSync(below).sort()) {
      const path = at + name
      attempt(leave, path, () => {
        const fd = openSync(`${below}/${name}`, FILE)
        try {
          const stat = fstatSync(fd)
          if (stat.isDirectory()) {
            if (depth === DEPTH_MAX) leave(path, 'it is nested too deep')
            else walk(fd, `${path}/`, depth + 1)
            return
          }
          const because = reason(stat, files, bytes, bytesMax)
          if (because) return leave(path, because)
          files++
          bytes += stat.size
          give(path, contentOf(fd, stat.size))
        } finally {
          closeSync(fd)
        }
      })
    }
  }
  try {
    const fd = openSync(root, FOLDER)
    walk(fd, '', 0)
    closeSync(fd)
  } catch {
    // The job took the folder itself away, or put something else in its place.
  }
  return leftOut
}

/** @param {import('node:fs').Stats} stat @param {number} files @param {number} bytes @param {number} bytesMax */
function reason(stat, files, bytes, bytesMax) {
  if (!stat.isFile()) return 'it is no plain file'
  if (stat.nlink > 1) return 'it has more than one name'
  if (files >= FILES_MAX) return `there are more than ${FILES_MAX}`
  if (stat.size > FILE_BYTES_MAX || bytes + stat.size > bytesMax) return 'it is too large'
  return undefined
}

/** A file that shrinks meanwhile is as long as it is. @param {number} fd @param {number} size */
function contentOf(fd, size) {
  const bytes = Buffer.alloc(size)
  let at = 0
  for (let read = -1; read !== 0 && at < size; at += read)
    read = readSync(fd, bytes, at, size - at, at)
  return bytes.subarray(0, at)
}

/** @param {(path: string, because: string) => void} leave @param {string} path @param {() => void} act */
function attempt(leave, path, act) {
  try {
    act()
  } catch (error) {
    const { code } = /** @type {{ code?: string }} */ (error)
    if (code === 'ELOOP' || code === 'EMLINK') leave(path, 'it is a link')
    else if (code === 'ENXIO') leave(path, 'it is no plain file')
    else if (code?.startsWith('E')) leave(path, 'it cannot be read')
    else throw error
  }
}
