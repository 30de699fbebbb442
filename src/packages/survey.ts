import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import path from 'node:path'
import { setImmediate as yieldOnce } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { asOwner } from '../lib/owner-files.ts'

/** Content of a folder for a layer, by relative path, parents first. */
export interface Survey {
  readonly folders: readonly string[]
  readonly files: readonly SurveyedFile[]
  readonly links: readonly { readonly path: string; readonly target: string }[]
  readonly omitted: readonly { readonly path: string; readonly because: string }[]
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

/** Limits of one package folder: entries of any kind, and bytes. */
export const packageEntriesMax = 500_000
export const layerBytesMax = 4 * 2 ** 30
const DEPTH_MAX = 64
const PATH_BYTES_MAX = 4096
const AT_ONCE = 512
/** Omitted entries listed by name; further ones are not. */
const LEFT_MAX = 1000
/** Caches of tools at the top level: written at run time, not installed. */
const CACHES = new Set(['.cache', '.vite'])

/**
 * Lists a folder without following symlinks. Links out of the folder, devices, sockets and FIFOs are omitted. Throws
 * MayflyError USAGE beyond the limits.
 */
export async function survey(root: string): Promise<Survey> {
  const folders: string[] = []
  const files: SurveyedFile[] = []
  const links: { path: string; target: string }[] = []
  const omitted: { path: string; because: string }[] = []
  let [entries, bytes] = [0, 0]
  const waiting = ['']
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const { name, facts, target } of entriesIn(path.join(root, folder))) {
      if (++entries > packageEntriesMax)
        throw tooLarge(root, `more than ${packageEntriesMax} files`)
      if (entries % AT_ONCE === 0) await yieldOnce()
      const place = folder === '' ? name : `${folder}/${name}`
      if (CACHES.has(place)) continue
      if (!facts) {
        omitted.push({ path: place, because: 'a name that is no UTF-8' })
        continue
      }
      if (Buffer.byteLength(place) > PATH_BYTES_MAX || place.split('/').length > DEPTH_MAX)
        throw tooLarge(root, 'a path that is too long')
      const because = takeIn(place, facts, target)
      if (because !== undefined && omitted.length < LEFT_MAX) omitted.push({ path: place, because })
    }
  }
  return { folders, files, links, omitted, bytes }

  function takeIn(place: string, facts: Stats, written?: string): string | undefined {
    if (facts.isDirectory()) {
      folders.push(place)
      waiting.push(place)
    } else if (facts.isSymbolicLink()) {
      const target = targetWithin(root, place, written ?? '')
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

interface Entry {
  readonly name: string
  /** Undefined for a name that was decoded lossily. */
  readonly facts: Stats | undefined
  /** Target of a link. */
  readonly target?: string
}

/** Entries of a folder, some at a time, so that rights of its owner are taken for all of these at once. */
function* entriesIn(folder: string): Generator<Entry> {
  const names = asOwner(folder, (at) => readdirSync(at)).sort()
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const some = names.slice(from, from + AT_ONCE)
    yield* asOwner(folder, (at) => some.map((name) => entryAt(at, name)))
  }
}

function entryAt(folder: string, name: string): Entry {
  const place = path.join(folder, name)
  const facts = lstatSync(place, { throwIfNoEntry: false })
  return { name, facts, ...(facts?.isSymbolicLink() && { target: readlinkSync(place) }) }
}

/** Link target as written, made relative if absolute; undefined if it leaves the folder. */
function targetWithin(root: string, place: string, written: string): string | undefined {
  const from = path.dirname(path.join(root, place))
  const target = path.resolve(from, written)
  if (target !== root && !target.startsWith(root + path.sep)) return undefined
  return path.isAbsolute(written) ? path.relative(from, target) || '.' : written
}

function tooLarge(root: string, what: string): MayflyError {
  return new MayflyError('USAGE', `Cannot use packages from "${root}": it holds ${what}`, {
    hint: 'Install only what the program needs (npm ci --omit=dev), or bundle it',
  })
}
