import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import path from 'node:path'
import { tryLock } from '../os/libc.js'
import { cacheFolder, makeCacheFolder } from '../lib/cache-folder.ts'
import { cellBinding } from './cell-binding.ts'
import { installedPrograms, ownRoot } from './joined.ts'
import { ownFolder, pythonFile, type JailMount } from './whole.ts'

/**
 * Prepared code of jailed programs: their modules joined into one file each, Node's compile cache and the bytecode of
 * the Python runner, written once by processes of Mayfly that handle no untrusted data, then mounted read-only into
 * each wall. With it an analysis process starts in a fifth of the time, Python in two thirds, Node in three quarters;
 * without it walls run the same code.
 *
 * Write access to this folder is code execution in every wall, so it must be this user's alone. It has a folder for
 * each installation root of Mayfly, so that checkouts do not evict each other, and in it one for each generation of the
 * sources. `prepare.js` creates, renames and removes them in a separate process, because a short `mayfly run` ends long
 * before it.
 */
export interface Compiled {
  /** Folder to mount for a program that runs as `uid`; undefined until it is prepared. */
  folder(uid: number): string | undefined
  /** Folder of joined programs; in a checkout undefined until it is prepared, or without esbuild. */
  readonly joined: string | undefined
  /** Mount for a program in Python; undefined until it is prepared, and without Python. */
  readonly python: JailMount | undefined
}

const SOURCES = installedPrograms
  ? ['dist/joined', 'guest', 'package.json']
  : ['guest', 'src/threat', 'src/contract', 'src/lib', 'src/os', 'package.json']
const PROGRAM = path.join(ownRoot, 'src/jail/prepare.js')
const RUNNER = 'guest/process'
/** Folder of Python's bytecode, beside those that Node names after its version. */
const PYTHON_FOLDER = 'python'
const KEY_CHARACTERS = 16
/** As prepare.js names them. */
const LOCK = 'lock'
const UNFINISHED = 'making-'

/** `base` is for tests: another cache folder. */
export function openCompiled(base?: string): Compiled {
  const home = makeHome(base)
  if (!home) return { folder: () => undefined, python: undefined, joined: installedPrograms }
  const name = generation()
  const own = path.join(home, name)
  const ready = path.join(own, 'compiled')
  const joined = installedPrograms ?? path.join(own, 'joined')
  if (!existsSync(ready) || hasUnfinished(home)) prepare(home, name, joined)
  return {
    folder: (uid) => (existsSync(ready) ? forUid(ready, uid) : undefined),
    joined,
    get python() {
      const from = path.join(ready, PYTHON_FOLDER)
      return existsSync(from) ? { from, at: `${ownFolder}/compiled` } : undefined
    },
  }
}

/** Node's compile cache is in a folder named after version and uid: there is one, and a symlink for each other uid. */
function forUid(ready: string, uid: number): string | undefined {
  try {
    const made = readdirSync(ready).find(
      (name) => name !== PYTHON_FOLDER && lstatSync(path.join(ready, name)).isDirectory(),
    )
    if (!made) return undefined
    const link = made.replace(/-\d+$/, `-${uid}`)
    if (!existsSync(path.join(ready, link))) symlinkSync(made, path.join(ready, link))
    return ready
  } catch {
    return undefined
  }
}

/** Folder of this root, in one that only this user can write to; undefined if it cannot be created. */
function makeHome(given: string | undefined): string | undefined {
  // Walls and the lock exist only on Linux.
  if (process.platform !== 'linux') return undefined
  try {
    const base = given ?? cacheFolder('prepared')
    const home = path.join(base, hash('sha256', ownRoot, 'hex').slice(0, KEY_CHARACTERS))
    makeCacheFolder(home, 0o755)
    return [base, home].every(isOurs) ? home : undefined
  } catch {
    return undefined
  }
}

function isOurs(folder: string): boolean {
  const { uid, mode } = lstatSync(folder)
  return uid === process.getuid?.() && (mode & 0o022) === 0
}

/** True if a maker is running, or was killed; the next maker removes the remains. */
function hasUnfinished(home: string): boolean {
  return readdirSync(home).some((name) => name.startsWith(UNFINISHED))
}

/** Cache key: versions of Node, Python and esbuild, and paths and content of the files. */
function generation(): string {
  const files = SOURCES.flatMap((place) => filesBelow(path.join(ownRoot, place)))
  const tools = [pythonFile, path.join(ownRoot, 'node_modules/esbuild/package.json')]
  const facts = [...tools, ...files].map(
    (file) => `${file} ${statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0}`,
  )
  const all = [process.version, process.execPath, ...facts].join('\n')
  return hash('sha256', all, 'hex').slice(0, KEY_CHARACTERS)
}

function filesBelow(place: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  return readdirSync(place, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes('.test.'))
    .map((entry) => path.join(entry.parentPath, entry.name))
}

/**
 * Runs `prepare.js` detached, unless one is running: a short command would end before it, and restart it at each run.
 * Until it is done, walls load their modules uncompiled.
 */
function prepare(home: string, name: string, joined: string): void {
  if (isPreparing(home)) return
  const python = existsSync(pythonFile) ? pythonFile : ''
  const at = `${ownFolder}/${RUNNER}`
  const args = [PROGRAM, ownRoot, home, name, joined, python, at, cellBinding() ?? '']
  const child = spawn(process.execPath, args, {
    cwd: '/',
    detached: true,
    env: {},
    stdio: 'ignore',
  })
  child.on('error', () => undefined)
  child.unref()
}

function isPreparing(home: string): boolean {
  try {
    const lock = openSync(path.join(home, LOCK), 'a', 0o600)
    try {
      return !tryLock(lock)
    } finally {
      closeSync(lock)
    }
  } catch {
    return false
  }
}
