import { checkedPath, checkedTarget, quoted } from './entry-path.ts'
import type { TarEntry } from './tar.ts'
import type { ImageEntry } from './canonical-tar.ts'
import { modeMask, type ImageNode } from './tree.ts'

/**
 * Flattens the layers of an OCI image into one tree as defined by its specification: an entry `.wh.NAME` removes NAME
 * of lower layers, `.wh..wh..opq` removes everything that lower layers have in its folder; neither affects its own
 * layer, in any order.
 *
 * A layer is read completely before it is applied. So whiteouts affect lower layers only, and a duplicate path, which
 * extractors resolve differently, is refused. A path through a link, also that of a whiteout, is refused too: an
 * extractor that follows the link would write or remove elsewhere. Paths with `..`, absolute paths, and links above the
 * root are refused by `entry-path.ts`, devices and FIFOs by `tar.ts`. Setuid, setgid, sticky bits and write access for
 * others are removed and counted.
 */
interface LayerFolder {
  readonly kind: 'folder'
  readonly children: Map<string, LayerNode>
}

type LayerNode = LayerFolder | Exclude<ImageNode, { kind: 'folder' }>

const entriesMax = 200_000
/** Limit of entries over all layers, including those that later layers remove: 128 layers could hold millions. */
const nodesMax = 2 ** 19
/** Limit of file bytes, counting each hard link: one file with many links would fill the disk when streamed. */
const bytesMax = 2 ** 32
const opaque = '.wh..wh..opq'
const whiteout = '.wh.'

export class LayerTree {
  readonly #root: LayerFolder = { kind: 'folder', children: new Map() }
  /** Entries of the layer being read. */
  #own = new Map<string, ImageNode>()
  #removed = new Set<string>()
  /** Entries that lost setuid, setgid or sticky bits, or extended attributes. */
  #stripped = 0
  #nodes = 0

  get stripped(): number {
    return this.#stripped
  }

  /** Adds an entry of this layer; `at` is the offset of its bytes in the spool. Throws RangeError. */
  add(entry: TarEntry, at: number): void {
    const place = checkedPath(entry.path)
    if (place === '') {
      if (entry.kind !== 'folder') throw new RangeError('a layer replaces the root')
      return
    }
    const name = place.slice(place.lastIndexOf('/') + 1)
    if (name.startsWith(whiteout)) return this.#addWhiteout(place, name, entry)
    if ((entry.mode & 0o7000) !== 0 || entry.hasAttributes) this.#stripped += 1
    const node = this.#nodeOf(entry, place, at)
    const other = this.#own.get(place)
    if (other && !(other.kind === 'folder' && node.kind === 'folder'))
      throw new RangeError(`a layer has ${quoted(place)} twice`)
    this.#own.set(place, node)
    if (this.#own.size > entriesMax) throw new RangeError('a layer has too many entries')
  }

  /** Applies the layer that was read. Throws RangeError for a path through a link or a file. */
  endLayer(): void {
    const removals = [...this.#removed].map((place) => [place, this.#removedFrom(place)] as const)
    for (const [place, folder] of removals) if (folder) removeIn(folder, place)
    const sorted = [...this.#own].sort(([a], [b]) => (a < b ? -1 : 1))
    for (const [place, node] of sorted) this.#put(place, node)
    // Again: a link of this layer may be on the way, too.
    for (const place of this.#removed) this.#removedFrom(place)
    this.#own = new Map()
    this.#removed = new Set()
  }

  get(place: string): ImageNode | undefined {
    const node = this.#find(place)
    return node?.kind === 'folder' ? { kind: 'folder' } : node
  }

  /** All entries, sorted by path. Throws RangeError if they are too many or too large. */
  sorted(): readonly ImageEntry[] {
    const entries: ImageEntry[] = []
    let bytes = 0
    const folders: (readonly [string, LayerFolder])[] = [['', this.#root]]
    for (let next = folders.pop(); next; next = folders.pop())
      for (const [name, node] of next[1].children) {
        const place = `${next[0]}${name}`
        if (node.kind === 'folder') folders.push([`${place}/`, node])
        entries.push([place, node.kind === 'folder' ? { kind: 'folder' } : node])
        bytes += node.kind === 'file' ? node.size : 0
        if (entries.length > entriesMax || bytes > bytesMax)
          throw new RangeError('it has too many or too large files for an image')
      }
    return entries.sort(([a], [b]) => (a < b ? -1 : 1))
  }

  #addWhiteout(place: string, name: string, { kind, size }: TarEntry): void {
    const isName = name === opaque || (name !== whiteout && !name.startsWith('.wh..wh.'))
    if (!isName || kind !== 'file' || size !== 0)
      throw new RangeError(`a layer has ${quoted(place)}, which is no whiteout`)
    if (this.#removed.has(place)) throw new RangeError(`a layer has ${quoted(place)} twice`)
    this.#removed.add(place)
    if (this.#removed.size > entriesMax) throw new RangeError('a layer has too many entries')
  }

  #nodeOf(entry: TarEntry, place: string, at: number): ImageNode {
    if (entry.kind === 'folder') return { kind: 'folder' }
    if (entry.kind === 'link') return { kind: 'link', target: checkedTarget(place, entry.target) }
    if (entry.kind === 'file')
      return { kind: 'file', mode: entry.mode & modeMask, at, size: entry.size }
    const target = checkedPath(entry.target)
    const shared = this.#own.get(target) ?? this.#find(target)
    if (shared?.kind === 'file') return shared
    // Container engines write a second name of a symbolic link as a hard link. Its target counts from its own folder.
    if (shared?.kind === 'link') return { ...shared, target: checkedTarget(place, shared.target) }
    throw new RangeError(`its hard link ${quoted(place)} is to what is no file before it`)
  }

  /**
   * Folder of a whiteout; undefined if there is none, or if this layer puts a folder in place of a link or a file on the
   * way. Throws RangeError for any other link or file there.
   */
  #removedFrom(place: string): LayerFolder | undefined {
    const names = place.split('/').slice(0, -1)
    let folder = this.#root
    for (const [at, name] of names.entries()) {
      const next = folder.children.get(name)
      if (!next) return undefined
      if (next.kind !== 'folder') {
        if (this.#own.get(names.slice(0, at + 1).join('/'))?.kind === 'folder') return undefined
        throw new RangeError(`${quoted(place)} of a layer leads through a ${next.kind}`)
      }
      folder = next
    }
    return folder
  }

  #put(place: string, node: ImageNode): void {
    const names = place.split('/')
    const last = names.pop()!
    let folder = this.#root
    for (const name of names) {
      const next = folder.children.getOrInsertComputed(name, () => this.#newFolder())
      if (next.kind !== 'folder')
        throw new RangeError(`${quoted(place)} of a layer leads through a ${next.kind}`)
      folder = next
    }
    const isKept = node.kind === 'folder' && folder.children.get(last)?.kind === 'folder'
    if (isKept) return
    if (node.kind !== 'folder') this.#count()
    folder.children.set(last, node.kind === 'folder' ? this.#newFolder() : node)
  }

  #newFolder(): LayerFolder {
    this.#count()
    return { kind: 'folder', children: new Map() }
  }

  #count(): void {
    if (++this.#nodes > nodesMax) throw new RangeError('its layers have too many entries')
  }

  #find(place: string): LayerNode | undefined {
    let node: LayerNode | undefined = this.#root
    for (const name of place.split('/'))
      node = node?.kind === 'folder' ? node.children.get(name) : undefined
    return node
  }
}

function removeIn({ children }: LayerFolder, whiteoutPlace: string): void {
  const name = whiteoutPlace.slice(whiteoutPlace.lastIndexOf('/') + 1)
  if (name === opaque) children.clear()
  else children.delete(name.slice(whiteout.length))
}
