import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
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
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder } from './cache-folder.ts'
import { ownFolder, pythonFile, type JailMount } from './whole.ts'

/**
 * Compiled code of jailed programs: Node's compile cache and the bytecode of the Python runner, written once by processes
 * of Mayfly that see no untrusted byte, mounted read-only into each wall after that. An analysis process starts in a fifth
 * of the time with it, and Python in two thirds. Without it everything works, more slowly.
 *
 * Write access to this folder is code execution in every wall, so it must be this user's alone.
 */
export interface Compiled {
  /** The folder to mount for a program that runs as `uid`; undefined while there is none yet. */
  folder(uid: number): string | undefined
  /** The mount for a program in Python; undefined while there is none yet, and without Python. */
  readonly python: JailMount | undefined
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SOURCES = ['guest', 'src/threat', 'src/contract', 'src/lib', 'src/os', 'package.json']
const PROGRAM = path.join(ROOT, 'guest/precompile.js')
const PYTHON_PROGRAM = path.join(ROOT, 'guest/precompile.py')
const RUNNER = 'guest/process'
/** Folder of Python's bytecode, beside those that Node names after its version. */
const PYTHON_FOLDER = 'python'
const GENERATIONS_MAX = 3

export function openCompiled(): Compiled {
  const base = makeBase()
  if (!base) return { folder: () => undefined, python: undefined }
  const ready = path.join(base, generation())
  if (!existsSync(ready)) void compileInto(base, ready)
  return {
    folder: (uid) => (existsSync(ready) ? forUid(ready, uid) : undefined),
    get python() {
      const from = path.join(ready, PYTHON_FOLDER)
      return existsSync(from) ? { from, at: `${ownFolder}/compiled` } : undefined
    },
  }
}

/** Node looks in a folder named after its version and the uid; ours holds one, and links for the others. */
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

function makeBase(): string | undefined {
  try {
    const base = cacheFolder('walls')
    mkdirSync(base, { recursive: true, mode: 0o755 })
    const { uid, mode } = lstatSync(base)
    return uid === process.getuid?.() && (mode & 0o022) === 0 ? base : undefined
  } catch {
    return undefined
  }
}

/** Changes with Node, with Python, with where the files lie and with any of them. */
function generation(): string {
  const files = SOURCES.flatMap((place) => filesBelow(path.join(ROOT, place)))
  const facts = files.map((file) => `${file} ${statSync(file).mtimeMs}`)
  const python = statSync(pythonFile, { throwIfNoEntry: false })?.mtimeMs ?? 0
  const all = [process.version, process.execPath, python, ...facts].join('\n')
  return hash('sha256', all, 'hex').slice(0, 16)
}

function filesBelow(place: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  return readdirSync(place, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes('.test.'))
    .map((entry) => path.join(entry.parentPath, entry.name))
}

/** In the background: the walls that are started meanwhile compile for themselves. Never rejects. */
async function compileInto(base: string, ready: string): Promise<void> {
  const making = `${ready}.${process.pid}`
  try {
    const env = { NODE_COMPILE_CACHE: making }
    await runProgram(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM], env)
    if (existsSync(pythonFile)) await compilePython(path.join(making, PYTHON_FOLDER))
    makeReadable(making)
    renameSync(making, ready)
    for (const old of olderThan(base, ready)) rmSync(old, { recursive: true, force: true })
  } catch {
    rmSync(making, { recursive: true, force: true })
  }
}

/** A Python that cannot compile leaves none of its files: the runner then compiles its sources. */
async function compilePython(into: string): Promise<void> {
  const [from, at] = [path.join(ROOT, RUNNER), `${ownFolder}/${RUNNER}`]
  try {
    await runProgram(pythonFile, ['-I', PYTHON_PROGRAM, from, at, into], {})
  } catch {
    rmSync(into, { recursive: true, force: true })
  }
}

async function runProgram(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const child = spawn(file, args, { env, stdio: 'ignore' })
  child.unref()
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`"${file}" ended with ${code}`)
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
