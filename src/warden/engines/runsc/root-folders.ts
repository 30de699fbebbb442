import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { EngineHost } from '../../../contract/engine.ts'
import { remainsOf } from '../sweep.ts'
import { folderOwners } from '../folder-owners.ts'
import { newWallId, sweepWallFolder, wallFolder } from '../wall-folder.ts'

/**
 * Roots of walls: the empty folders and files that mounts need, links, and small files of `/etc`. Walls of one program
 * have equal roots and mount them read-only, so each is created once per warden, which saves 60 file operations at each
 * start and each end of a wall. A root belongs to the warden's user, and has a lease like a wall's, so that a sweep
 * removes it.
 */
export interface RootContent {
  /** Mount points: folders, and empty files. */
  readonly folders: readonly string[]
  readonly files: readonly string[]
  readonly texts: Readonly<Record<string, string>>
  readonly links: readonly { readonly at: string; readonly target: string }[]
  /** Files of the host to copy. */
  readonly copies: readonly string[]
}

/**
 * Age at which a new root is created: systemd-tmpfiles removes files from /tmp that were not accessed for ten days. The
 * old root stays until `close`, because walls may still use it.
 */
const AGE_MS_MAX = 24 * 3_600_000

interface MadeRoot {
  readonly place: string
  readonly madeAt: number
}

export class RootFolders {
  readonly #host: Pick<EngineHost, 'lease' | 'releaseLease'>
  readonly #made = new Map<string, MadeRoot>()
  readonly #ids: string[] = []

  constructor(host: Pick<EngineHost, 'lease' | 'releaseLease'>) {
    this.#host = host
  }

  /** Root of that name, created at its first use. Removes a partial root before it throws. */
  take(name: string, content: () => RootContent): string {
    const known = this.#made.get(name)
    if (known && performance.now() - known.madeAt < AGE_MS_MAX) return known.place
    const id = newWallId('r')
    const place = wallFolder(id)
    this.#host.lease(id, remainsOf([], null))
    folderOwners.note(id)
    try {
      writeRoot(place, content())
    } catch (error) {
      this.#remove(id)
      throw error
    }
    this.#ids.push(id)
    this.#made.set(name, { place, madeAt: performance.now() })
    return place
  }

  /** Removes all roots; walls that still use one are being killed. */
  close(): void {
    for (const id of this.#ids.splice(0)) this.#remove(id)
    this.#made.clear()
  }

  #remove(id: string): void {
    sweepWallFolder(id)
    this.#host.releaseLease(id)
  }
}

/** Throws EEXIST if the folder exists: /tmp is world-writable. */
export function writeRoot(root: string, content: RootContent): void {
  mkdirSync(root, { mode: 0o755 })
  for (const at of content.folders) mkdirSync(path.join(root, at), { recursive: true })
  for (const at of content.files) writeAt(root, at, '')
  for (const at of content.copies) writeAt(root, at, readFileSync(at))
  for (const [at, text] of Object.entries(content.texts)) writeAt(root, at, text)
  for (const { at, target } of content.links) linkAt(root, at, target)
}

function writeAt(root: string, at: string, text: string | Buffer): void {
  const place = path.join(root, at)
  mkdirSync(path.dirname(place), { recursive: true })
  if (!lstatSync(place, { throwIfNoEntry: false })) writeFileSync(place, text, { mode: 0o444 })
}

function linkAt(root: string, at: string, target: string): void {
  const place = path.join(root, at)
  mkdirSync(path.dirname(place), { recursive: true })
  if (!lstatSync(place, { throwIfNoEntry: false })) symlinkSync(target, place)
}
