import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Compiled code of jailed programs: Node's own compile cache, written once by a process of Mayfly that sees no untrusted
 * byte, mounted read-only into each wall after that. An analysis process starts in a fifth of the time with it. Without it
 * everything works, more slowly.
 *
 * Write access to this folder is code execution in every wall, so it must be this user's alone.
 */
export interface Compiled {
  /** The folder to mount for a program that runs as `uid`; undefined while there is none yet. */
  folder(uid: number): string | undefined
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SOURCES = ['guest', 'src/threat', 'src/contract', 'src/lib', 'src/os', 'package.json']
const PROGRAM = path.join(ROOT, 'guest/precompile.js')
const GENERATIONS_MAX = 3

export function openCompiled(): Compiled {
  const base = makeBase()
  if (!base) return { folder: () => undefined }
  const ready = path.join(base, generation())
  if (!existsSync(ready)) compileInto(base, ready)
  return { folder: (uid) => (existsSync(ready) ? forUid(ready, uid) : undefined) }
}

/** Node looks in a folder named after its version and the uid; ours holds one, and links for the others. */
function forUid(ready: string, uid: number): string | undefined {
  try {
    const made = readdirSync(ready).find((name) => lstatSync(path.join(ready, name)).isDirectory())
    if (!made) return undefined
    const link = made.replace(/-\d+$/, `-${uid}`)
    if (!existsSync(path.join(ready, link))) symlinkSync(made, path.join(ready, link))
    return ready
  } catch {
    return undefined
  }
}

function makeBase(): string | undefined {
  try {
    const base = cacheFolder()
    mkdirSync(base, { recursive: true, mode: 0o755 })
    const { uid, mode } = lstatSync(base)
    return uid === process.getuid?.() && (mode & 0o022) === 0 ? base : undefined
  } catch {
    return undefined
  }
}

/** Throws where nothing says which folder is this user's: it may have no home and no name. */
function cacheFolder(): string {
  if (process.getuid?.() === 0) return '/var/cache/mayfly/walls'
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  return path.join(cache, 'mayfly', 'walls')
}

/** Changes with Node, with where the files lie and with any of them. */
function generation(): string {
  const files = SOURCES.flatMap((place) => filesBelow(path.join(ROOT, place)))
  const facts = files.map((file) => `${file} ${statSync(file).mtimeMs}`)
  return hash('sha256', [process.version, process.execPath, ...facts].join('\n'), 'hex').slice(
    0,
    16,
  )
}

function filesBelow(place: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  return readdirSync(place, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes('.test.'))
    .map((entry) => path.join(entry.parentPath, entry.name))
}

/** In the background: the walls that are started meanwhile compile for themselves. */
function compileInto(base: string, ready: string): void {
  const making = `${ready}.${process.pid}`
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM], {
    env: { NODE_COMPILE_CACHE: making },
    stdio: 'ignore',
  })
  child.unref()
  child.once('exit', (code) => {
    try {
      if (code !== 0) throw new Error(`precompiling ended with ${code}`)
      makeReadable(making)
      renameSync(making, ready)
      for (const old of olderThan(base, ready)) rmSync(old, { recursive: true, force: true })
    } catch {
      rmSync(making, { recursive: true, force: true })
    }
  })
}

function makeReadable(folder: string): void {
  chmodSync(folder, 0o755)
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    chmodSync(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644)
  }
}

function olderThan(base: string, ready: string): readonly string[] {
  return readdirSync(base)
    .map((name) => path.join(base, name))
    .filter((folder) => folder !== ready)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
    .slice(GENERATIONS_MAX - 1)
}
