import { hash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import path from 'node:path'
import { messageOf } from '../contract/error.ts'
import { runCompiler } from '../os/compiler.ts'
import { findProgram } from '../os/find-program.ts'
import { cacheFolder, makeCacheFolder } from '../lib/cache-folder.ts'

/**
 * Programs in C, each compiled from the files of its folder by one call of this machine's compiler, and cached by a hash
 * of all files and flags in a folder of mode 0700. The executed file is the one that was checked: owner, mode and content
 * are read on a descriptor, and that descriptor is executed (no TOCTOU). Root executes no program that another user made.
 */
export interface CProgram {
  /** Path of the compiled program, in the folder of this user. */
  readonly file: string
  /** Descriptor of the checked file, open for the life of this process. */
  readonly fd: number
}

/** A program, or the cause of its absence, as a wall reports it. */
export type CProgramLookup = CProgram | { readonly missing: string }

export interface CProgramSource {
  readonly name: string
  /** C files and headers, and folders of them. */
  readonly sources: readonly string[]
  /** Without a static libc a static program is missing. */
  readonly linking?: keyof typeof FLAGS_OF | undefined
  /** Programs to treat as missing. */
  readonly hide?: readonly string[]
  /** For tests: another cache folder. */
  readonly folder?: string
}

const SOURCE = /\.[ch]$/
const COMPILERS = ['cc', 'gcc', 'clang']
const FLAGS = [
  '-std=gnu11',
  '-O2',
  '-Wall',
  '-Wextra',
  '-fstack-protector-strong',
  '-D_FORTIFY_SOURCE=2',
  '-Wl,-z,relro,-z,now,-z,noexecstack',
]
const FLAGS_OF = {
  program: [...FLAGS, '-fPIE', '-pie'],
  static: [...FLAGS, '-fPIE', '-static-pie'],
  library: [...FLAGS, '-fPIC', '-shared', '-fvisibility=hidden'],
} as const
const SAID_CHARACTERS_MAX = 300
const PROGRAM_BYTES_MAX = 4 * 2 ** 20
/** Cached files: two versions of Mayfly with two kinds of linking each, and a failed attempt. */
const GENERATIONS_MAX = 5
const KEY_CHARACTERS = 16
/** Beginning of the name of a folder that a compiler works in. */
const MAKING = 'making-'
const ABANDONED_MS = 3_600_000
const EXECUTABLE = 0o500
const OTHERS = 0o022
const { O_RDONLY, O_NOFOLLOW } = constants

/** Opens the cached program, or compiles it, which takes one to two seconds. Never rejects. */
export async function openCProgram(source: CProgramSource): Promise<CProgramLookup> {
  if (process.platform !== 'linux') return { missing: 'it needs Linux' }
  try {
    const { name, sources, linking = 'program', folder = cacheFolder(name), hide = [] } = source
    claimFolder(folder)
    const files = cFiles(sources)
    const flags = FLAGS_OF[linking]
    const key = keyOf(files, flags)
    return openMade(folder, key) ?? (await make({ name, files, flags, folder, key, hide }))
  } catch (error) {
    return { missing: messageOf(error) }
  }
}

/** Paths of these C files and headers, and of all in these folders. */
export function cFiles(places: readonly string[]): readonly string[] {
  return places.flatMap((place) => {
    if (SOURCE.test(place)) return [place]
    const names = readdirSync(place).filter((name) => SOURCE.test(name))
    return names.sort().map((name) => path.join(place, name))
  })
}

/** Second open file description of the program, with an offset of its own. The caller closes it. */
export function reopen({ fd }: CProgram): number {
  return openSync(`/proc/self/fd/${fd}`, O_RDONLY)
}

/** True if its file is still linked: the cache may be cleared at any time, and walls open the file by path. */
export function isThere({ fd }: CProgram): boolean {
  return fstatSync(fd).nlink > 0
}

interface Making extends Required<Pick<CProgramSource, 'name' | 'folder' | 'hide'>> {
  readonly files: readonly string[]
  readonly flags: readonly string[]
  readonly key: string
}

async function make({ name, files, flags, folder, key, hide }: Making): Promise<CProgramLookup> {
  const names = COMPILERS.filter((one) => !hide.includes(one))
  const [compiler] = names.flatMap((one) => findProgram(one) ?? [])
  if (!compiler) return { missing: 'there is no C compiler to make it with' }
  const making = mkdtempSync(path.join(folder, MAKING))
  try {
    const made = path.join(making, name)
    const complaint = await compile([compiler, ...flags], files, made)
    if (complaint !== undefined) return { missing: `the C compiler refused it: ${complaint}` }
    chmodSync(made, 0o555)
    renameSync(made, path.join(folder, `${key}-${hash('sha256', readFileSync(made), 'hex')}`))
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  for (const old of [...olderThan(folder, key), ...abandonedIn(folder)])
    rmSync(old, { recursive: true, force: true })
  return openMade(folder, key) ?? { missing: 'what was made of it is not what was found' }
}

/** Cache key: hash of content and names of all files, and of the flags. */
function keyOf(files: readonly string[], flags: readonly string[]): string {
  const parts = files.map((file) => [path.basename(file), readFileSync(file, 'utf8')])
  return hash('sha256', JSON.stringify([parts, flags]), 'hex').slice(0, KEY_CHARACTERS)
}

/** Compiles; returns the compiler's message if it failed. */
async function compile(
  [cc, ...flags]: readonly [cc: string, ...flags: readonly string[]],
  files: readonly string[],
  to: string,
): Promise<string | undefined> {
  const units = files.filter((file) => file.endsWith('.c'))
  const { code, stderr } = await runCompiler([cc, ...flags, '-o', to, ...units], path.dirname(to))
  if (code === 0) return undefined
  const [line = ''] = stderr.split('\n')
  return line.slice(0, SAID_CHARACTERS_MAX) || `it failed (${code})`
}

function openMade(folder: string, key: string): CProgram | undefined {
  for (const name of readdirSync(folder).filter((one) => one.startsWith(`${key}-`))) {
    const file = path.join(folder, name)
    const fd = openSync(file, O_RDONLY | O_NOFOLLOW)
    if (isOurs(fd, name.slice(key.length + 1))) return { file, fd }
    closeSync(fd)
    rmSync(file, { force: true })
  }
  return undefined
}

function isOurs(fd: number, digest: string): boolean {
  const { uid, mode, nlink, size } = fstatSync(fd)
  const isPlain = uid === process.getuid?.() && nlink === 1 && size <= PROGRAM_BYTES_MAX
  const isSafe = (mode & OTHERS) === 0 && (mode & EXECUTABLE) === EXECUTABLE
  return isPlain && isSafe && hash('sha256', readFileSync(fd), 'hex') === digest
}

/** Write access to this folder is code execution, so it must be this user's alone. */
function claimFolder(folder: string): void {
  makeCacheFolder(folder, 0o700)
  const { uid, mode } = lstatSync(folder)
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0)
    throw new Error(`the folder "${folder}" is not this user's alone`)
}

/** Folders of compilers whose process was killed: no compiler works for as long. */
function abandonedIn(folder: string): readonly string[] {
  const since = Date.now() - ABANDONED_MS
  return readdirSync(folder)
    .filter((name) => name.startsWith(MAKING))
    .map((name) => path.join(folder, name))
    .filter((file) => (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? since) < since)
}

function olderThan(folder: string, key: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => !name.startsWith(key) && !name.startsWith(MAKING))
    .map((name) => path.join(folder, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
    .slice(GENERATIONS_MAX - 1)
}
