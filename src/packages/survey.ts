import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import path from 'node:path'
import { setImmediate as yieldOnce } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'

/** What of a folder goes into a layer, by paths below it, parents first. */
export interface Survey {
  readonly folders: readonly string[]
  readonly files: readonly SurveyedFile[]
  readonly links: readonly { readonly path: string; readonly target: string }[]
  readonly left: readonly { readonly path: string; readonly because: string }[]
  readonly bytes: number
}

export interface SurveyedFile {
  readonly path: string
  readonly size: number
  readonly isExecutable: boolean
  readonly modifiedMs: number
  readonly changedMs: number
  readonly inode: number
}

/** Entries of one folder of packages, whatever they are, and its bytes. */
export const entriesMax = 500_000
export const layerBytesMax = 4 * 2 ** 30
const DEPTH_MAX = 64
const PATH_BYTES_MAX = 4096
const AT_ONCE = 512
/** Kept by name; the rest is counted. */
const LEFT_MAX = 1000
/** Of tools, right below the folder: written while they run, and never part of what was installed. */
const CACHES = new Set(['.cache', '.vite'])

/**
 * Reads the names below a folder, and follows no link. Links that leave the folder, devices, sockets and pipes are
 * left out. Throws MayflyError USAGE beyond the bounds.
 */
export async function survey(root: string): Promise<Survey> {
  const folders: string[] = []
  const files: SurveyedFile[] = []
  const links: { path: string; target: string }[] = []
  const left: { path: string; because: string }[] = []
  let [entries, bytes] = [0, 0]
  const waiting = ['']
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const name of readdirSync(path.join(root, folder)).sort()) {
      if (++entries > entriesMax) throw tooLarge(root, `more than ${entriesMax} files`)
      if (entries % AT_ONCE === 0) await yieldOnce()
      const place = folder === '' ? name : `${folder}/${name}`
      const facts = lstatSync(path.join(root, place), { throwIfNoEntry: false })
      if (CACHES.has(place)) continue
      if (!facts) {
        left.push({ path: place, because: 'a name that is no UTF-8' })
        continue
      }
      if (Buffer.byteLength(place) > PATH_BYTES_MAX || place.split('/').length > DEPTH_MAX)
        throw tooLarge(root, 'a path that is too long')
      const because = takeIn(place, facts)
      if (because !== undefined && left.length < LEFT_MAX) left.push({ path: place, because })
    }
  }
  return { folders, files, links, left, bytes }

  function takeIn(place: string, facts: Stats): string | undefined {
    if (facts.isDirectory()) {
      folders.push(place)
      waiting.push(place)
    } else if (facts.isSymbolicLink()) {
      const target = targetWithin(root, place)
      if (target === undefined) return 'a link that leaves the folder'
      links.push({ path: place, target })
    } else if (facts.isFile()) {
      bytes += facts.size
      if (bytes > layerBytesMax) throw tooLarge(root, `more than ${layerBytesMax} bytes`)
      files.push({
        path: place,
        size: facts.size,
        isExecutable: (facts.mode & 0o111) !== 0,
        modifiedMs: facts.mtimeMs,
        changedMs: facts.ctimeMs,
        inode: facts.ino,
      })
    } else return 'neither a file, a folder nor a link'
    return undefined
  }
}

/** The target of a link as it is written, or relative where it was absolute; undefined where it leaves the folder. */
function targetWithin(root: string, place: string): string | undefined {
  const written = readlinkSync(path.join(root, place))
  const from = path.dirname(path.join(root, place))
  const target = path.resolve(from, written)
  if (target !== root && !target.startsWith(root + path.sep)) return undefined
  return path.isAbsolute(written) ? path.relative(from, target) || '.' : written
}

function tooLarge(root: string, what: string): MayflyError {
  return new MayflyError('USAGE', `Cannot take packages from "${root}": it holds ${what}`, {
    hint: 'Install what the program needs alone (npm ci --omit=dev), or bundle it',
  })
}
