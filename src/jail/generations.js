/**
 * A folder of generations, each created atomically by a rename. The maker has a lock that the kernel releases at its
 * end, so an unfinished generation without a lock belongs to a killed maker; no pid is examined.
 */
import { existsSync, lstatSync, openSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { tryLock } from '../os/libc.js'

const ROOT_LINK = 'root'
const UNFINISHED = /^making-\d+$/

/** Temporary folder of a generation. @param {string} home */
export const unfinishedIn = (home) => path.join(home, `making-${process.pid}`)

/**
 * Takes the lock for the life of this process, and removes remains of killed makers; false if another maker is running.
 * @param {string} home
 */
export function beMaker(home) {
  const lock = openSync(path.join(home, 'lock'), 'a', 0o600)
  if (process.platform === 'linux' && !tryLock(lock)) return false
  for (const name of readdirSync(home)) if (UNFINISHED.test(name)) remove(path.join(home, name))
  return true
}

/**
 * Removes older entries of these names until `max` are left, `kept` among them.
 * @param {string} folder @param {RegExp} names @param {string} kept @param {number} max
 */
export function keepNewest(folder, names, kept, max) {
  const others = readdirSync(folder).filter((name) => names.test(name) && name !== kept)
  const byAge = others.map((name) => {
    const place = path.join(folder, name)
    return { place, made: lstatSync(place, { throwIfNoEntry: false })?.mtimeMs ?? 0 }
  })
  byAge.sort((a, b) => b.made - a.made)
  for (const { place } of byAge.slice(max - 1)) remove(place)
}

/** Links the folder to its root. @param {string} home @param {string} root */
export function linkRoot(home, root) {
  const link = path.join(home, ROOT_LINK)
  if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(root, link)
}

/** Removes the folders of roots that do not exist any more. @param {string} base @param {RegExp} names */
export function removeGoneRoots(base, names) {
  for (const name of readdirSync(base).filter((one) => names.test(one))) {
    const link = path.join(base, name, ROOT_LINK)
    const isLinked = lstatSync(link, { throwIfNoEntry: false }) !== undefined
    if (isLinked && !existsSync(link)) remove(path.join(base, name))
  }
}

/** @param {string} place */
export function remove(place) {
  rmSync(place, { recursive: true, force: true })
}
