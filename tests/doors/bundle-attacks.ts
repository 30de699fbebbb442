import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'

/** Attacks on the file and folders of a bundle, large or small: after each of them the bundle is not used. */
export interface BundlePlace {
  readonly root: string
  readonly base: string
  readonly home: string
  readonly file: string
}

type Attacks = Readonly<Record<string, (one: BundlePlace) => void>>

/** Uid that is neither root's nor that of the user of the tests. */
export const stranger = 54_321

export const placeAttacks: Attacks = {
  'is empty': ({ file }) => truncateSync(file, 0),
  'may be written by a group': ({ file }) => chmodSync(file, 0o664),
  'may be written by others': ({ file }) => chmodSync(file, 0o646),
  'has a second name': ({ file, root }) => linkSync(file, join(root, 'second')),
  'is a symbolic link': ({ file, root }) => {
    renameSync(file, join(root, 'elsewhere'))
    symlinkSync(join(root, 'elsewhere'), file)
  },
  'is a FIFO': ({ file }) => {
    rmSync(file)
    execFileSync('mkfifo', [file])
  },
  'lies in a folder that others may write to': ({ home }) => chmodSync(home, 0o777),
  'lies below a folder that others may write to': ({ base }) => chmodSync(base, 0o775),
  'lies behind a link in place of its folder': ({ home, root }) => {
    renameSync(home, join(root, 'elsewhere'))
    symlinkSync(join(root, 'elsewhere'), home)
  },
  'lies behind a link in place of the cache': ({ base, root }) => {
    renameSync(base, join(root, 'elsewhere'))
    symlinkSync(join(root, 'elsewhere'), base)
  },
}

/** Attacks that need root, because they change owners. */
export const plantedAttacks: Attacks = {
  'was planted by another user': ({ file }) => chownSync(file, stranger, stranger),
  'lies in a folder of another user': ({ home }) => chownSync(home, stranger, stranger),
  'lies in the cache of another user': ({ base }) => chownSync(base, stranger, stranger),
}
