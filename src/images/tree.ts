import path from 'node:path'
import { checkedPath, checkedTarget, mergedPath } from './entry-path.ts'
import type { TarEntry } from './tar.ts'

/** Bytes of a file in the spool. */
interface FileNode {
  readonly kind: 'file'
  readonly mode: number
  readonly at: number
  readonly size: number
}

interface LinkNode {
  readonly kind: 'link'
  readonly target: string
}

interface FolderNode {
  readonly kind: 'folder'
}

export type ImageNode = FileNode | LinkNode | FolderNode

const folderMode = 0o755
/** Permitted mode bits: writable only by the owner; no setuid, setgid or sticky bit. */
export const modeMask = 0o755
const entriesMax = 200_000
const bytesMax = 4 * 2 ** 30

/**
 * Files of an image by path, from packages that must not overlap. Throws RangeError for entries that images must not
 * have.
 */
export class ImageTree {
  readonly #nodes = new Map<string, ImageNode>()
  #bytes = 0

  /** Adds an entry of a package; `at` is the offset of its bytes in the spool. */
  add(entry: TarEntry, at: number): void {
    const checked = checkedPath(entry.path)
    if (checked === '') {
      if (entry.kind !== 'folder') throw new RangeError('its archive replaces the root')
      return
    }
    const place = mergedPath(checked)
    if (entry.kind === 'folder') return this.#addFolder(place)
    this.#bytes += entry.size
    if (this.#bytes > bytesMax) throw new RangeError('its files are too large for an image')
    if (entry.kind === 'same') return this.#put(place, this.#sharedBy(entry.target))
    if (entry.kind === 'link')
      return this.#put(place, { kind: 'link', target: checkedTarget(place, entry.target) })
    this.#put(place, { kind: 'file', mode: entry.mode & modeMask, at, size: entry.size })
  }

  get(place: string): ImageNode | undefined {
    return this.#nodes.get(place)
  }

  /** Follows links inside the tree. */
  resolve(place: string): FileNode | undefined {
    let at = place
    for (let links = 0; links < 8; links += 1) {
      const node = this.#nodes.get(mergedPath(at))
      if (node?.kind !== 'link') return node?.kind === 'file' ? node : undefined
      at = path.posix.join('/', path.posix.dirname(mergedPath(at)), node.target).slice(1)
      if (node.target.startsWith('/')) at = path.posix.normalize(node.target).slice(1)
    }
    return undefined
  }

  /** Removes the paths that `leaveOut` matches and `keep` does not. */
  leaveOut(leaveOut: readonly string[], keep: readonly string[]): void {
    const [out, kept] = [leaveOut.map(patternOf), keep.map(patternOf)]
    for (const place of this.#nodes.keys())
      if (out.some((one) => one.test(place)) && !kept.some((one) => one.test(place)))
        this.#nodes.delete(place)
  }

  /** Regular files that match any of these globs, with their paths, sorted. */
  filesMatching(globs: readonly string[]): readonly (readonly [place: string, node: FileNode])[] {
    const wanted = globs.map(patternOf)
    const found = [...this.#nodes].flatMap(([place, node]) =>
      node.kind === 'file' && wanted.some((one) => one.test(place)) ? [[place, node] as const] : [],
    )
    return found.sort(([a], [b]) => (a < b ? -1 : 1))
  }

  /** Files that match a glob, sorted by path. */
  matching(pattern: string): readonly FileNode[] {
    const wanted = patternOf(pattern)
    const places = [...this.#nodes.keys()].filter((place) => wanted.test(place)).sort()
    return places.flatMap((place) => this.resolve(place) ?? [])
  }

  /**
   * All entries, parents first, including folders that are in no package. Throws RangeError if a path leads through a
   * link or a file.
   */
  sorted(): readonly (readonly [place: string, node: ImageNode])[] {
    for (const place of this.#nodes.keys()) this.#addParents(place)
    return [...this.#nodes].sort(([a], [b]) => (a < b ? -1 : 1))
  }

  #addFolder(place: string): void {
    const node = this.#nodes.get(place)
    // A package may contain a folder that is a link of base-files, such as `lib`.
    if (!node) this.#put(place, { kind: 'folder' })
    else if (node.kind === 'file') throw new RangeError(`"${place}" is a file and a folder`)
  }

  #put(place: string, node: ImageNode): void {
    const other = this.#nodes.get(place)
    const isMergedLink = node.kind === 'link' && other?.kind === 'folder' && isUsrLink(place, node)
    if (other && !isMergedLink) throw new RangeError(`"${place}" is in the image already`)
    this.#nodes.set(place, node)
    if (this.#nodes.size > entriesMax) throw new RangeError('an image has no room for its files')
  }

  #sharedBy(target: string): FileNode {
    const node = this.#nodes.get(mergedPath(checkedPath(target)))
    if (node?.kind === 'file') return node
    throw new RangeError('it has a hard link to what is no file before it')
  }

  #addParents(place: string): void {
    for (let at = place.lastIndexOf('/'); at > 0; at = place.lastIndexOf('/', at - 1)) {
      const parent = place.slice(0, at)
      const node = this.#nodes.get(parent)
      if (node?.kind === 'folder') continue
      if (node) throw new RangeError(`"${place}" leads through a ${node.kind}`)
      this.#nodes.set(parent, { kind: 'folder' })
    }
  }
}

/** Mode of a node in the image. */
export function modeOf(node: ImageNode): number {
  if (node.kind === 'file') return node.mode
  return node.kind === 'link' ? 0o777 : folderMode
}

function isUsrLink(place: string, { target }: LinkNode): boolean {
  return mergedPath(`${place}/`) === `usr/${place}/` && target === `usr/${place}`
}

/** Converts a glob to a regular expression: `*` within a name, `**` across names. */
function patternOf(glob: string): RegExp {
  const parts = glob.split(/(\*\*|\*)/).map((part) => {
    if (part === '**') return '.*'
    return part === '*' ? '[^/]*' : part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&')
  })
  return new RegExp(`^${parts.join('')}$`, 's')
}
