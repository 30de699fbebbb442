import { lstatSync, readlinkSync, statSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { cacheFolder } from '../lib/cache-folder.ts'
import type { JailedProgram } from './embedded.ts'
import { shownOfSystem } from './etc.ts'
import { linksOfWhole, pythonFile, type JailMount } from './whole.ts'

/**
 * Root of a wall with the files of an image.
 *
 * Problem: an image is an erofs file, and mounting one needs a loop device, which only root has. Mechanism: `mayfly
 * images unpack` writes its files once, to a tree of this user with the digest as its name, and verifies it against the
 * image. The wall's root is built as usual, from `/dev`, `/proc`, `/etc`, scratch folders and Mayfly's runner; `/usr`
 * and the data of `/etc` come from the tree instead of the host, mounted read-only. Relies on the tree's owner: no
 * other user may write to it, which is checked; its content is not hashed again for a job (`mayfly images verify`
 * does). Not handled: a wall without namespaces, which is refused because it would show the host's files.
 */

/** Path of an unpacked image. Throws MayflyError NOT_FOUND. */
export function findImageRoot(digest: string): string {
  const root = path.join(cacheFolder('image-roots'), digest)
  const facts = lstatSync(root, { throwIfNoEntry: false })
  const isOurs =
    facts?.isDirectory() === true &&
    facts.uid === (process.getuid?.() ?? facts.uid) &&
    (facts.mode & 0o022) === 0
  if (isOurs) return root
  throw new MayflyError(
    'NOT_FOUND',
    `Cannot start in image "sha256:${digest}": it is not unpacked`,
    {
      hint: `Run "mayfly images unpack sha256:${digest.slice(0, 12)}" as the user of this server`,
    },
  )
}

/**
 * The program with the interpreter and the libraries of an image, and without files of the host. Throws MayflyError
 * UNAVAILABLE if the image has no such interpreter, or no shell to start it.
 */
export function programOfImage(program: JailedProgram, root: string): JailedProgram {
  const { whole } = program
  if (!whole) throw new MayflyError('UNAVAILABLE', 'Cannot start a worker in an image')
  const isPython = whole.interpreter === pythonFile
  const interpreter = isPython ? pythonFile : '/usr/bin/node'
  const needing = isPython ? 'Python programs' : 'Node programs and shell scripts'
  for (const file of [interpreter, '/usr/bin/sh'])
    if (!hasProgram(root, file))
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot start in this image: it has no "${file}", which ${file === interpreter ? needing : 'all programs'} need`,
        { hint: 'Choose an image that has it, or build one with its packages' },
      )
  const own = whole.places.filter(({ from }) => from !== process.execPath)
  return {
    ...program,
    whole: {
      ...whole,
      interpreter,
      places: [...mountsOf(root), ...own],
      links: [...mergedLinks(root), ...linksOfWhole],
    },
  }
}

function mountsOf(root: string): readonly JailMount[] {
  const places = ['/usr', ...shownOfSystem].map((at) => ({ from: path.join(root, at), at }))
  return places.filter(({ from }) => isPlain(from, root))
}

/** The last component may be a symlink, such as that of busybox: it is resolved inside the wall. */
function hasProgram(root: string, file: string): boolean {
  const place = path.join(root, file)
  const isThere = lstatSync(place, { throwIfNoEntry: false }) !== undefined
  return isThere && isPlain(path.dirname(place), root)
}

/** True for a file or folder of the tree itself; symlinks are not followed, because they would resolve on the host. */
function isPlain(place: string, root: string): boolean {
  for (let at = place; at !== root; at = path.dirname(at)) {
    const facts = lstatSync(at, { throwIfNoEntry: false })
    if (!facts || facts.isSymbolicLink()) return false
  }
  const facts = statSync(place)
  return facts.isFile() || facts.isDirectory()
}

/** Links into /usr, as base-files has them. */
function mergedLinks(root: string) {
  return ['/bin', '/lib', '/lib64', '/sbin'].flatMap((at) => {
    const facts = lstatSync(path.join(root, at), { throwIfNoEntry: false })
    return facts?.isSymbolicLink() ? [{ at, target: readlinkSync(path.join(root, at)) }] : []
  })
}
