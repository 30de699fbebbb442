import { spawn } from 'node:child_process'
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
  /** Folder of its C files and headers, or their paths. */
  readonly sources: string | readonly string[]
  /** True to compile a shared library. */
  readonly isLibrary?: boolean
  /** True to link statically; the program is missing without a static libc. */
  readonly isStatic?: boolean
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
const BUILD_MS_MAX = 60_000
const PROGRAM_BYTES_MAX = 4 * 2 ** 20
const GENERATIONS_MAX = 3
const KEY_CHARACTERS = 16
const EXECUTABLE = 0o500
const OTHERS = 0o022
const { O_RDONLY, O_NOFOLLOW } = constants

/** Opens the cached program, or compiles it, which takes one to two seconds. Never rejects. */
export async function openCProgram(source: CProgramSource): Promise<CProgramLookup> {
  if (process.platform !== 'linux') return { missing: 'it needs Linux' }
  try {
    const { name, sources, folder = cacheFolder(name), hide = [] } = source
    claimFolder(folder)
    const files = typeof sources === 'string' ? cFiles(sources) : sources
    const flags = FLAGS_OF[linkingOf(source)]
    const key = keyOf(files, flags)
    return openMade(folder, key) ?? (await make({ name, files, flags, folder, key, hide }))
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) }
  }
}

function linkingOf({ isLibrary, isStatic }: CProgramSource): keyof typeof FLAGS_OF {
  return isLibrary ? 'library' : isStatic ? 'static' : 'program'
}

/** Paths of all C files and headers of a folder. */
export function cFiles(folder: string): readonly string[] {
  const names = readdirSync(folder).filter((name) => SOURCE.test(name))
  return names.sort().map((name) => path.join(folder, name))
}

/** Second open file description of the program, with an offset of its own. The caller closes it. */
export function reopen({ fd }: CProgram): number {
  return openSync(`/proc/self/fd/${fd}`, O_RDONLY)
}

/** True if its file is still linked: the cache may be cleared at any time, and walls open the file by path. */
export function isThere({ fd }: CProgram): boolean {
  return fstatSync(fd).nlink > 0
}

interface Making {
  readonly name: string
  readonly files: readonly string[]
  readonly flags: readonly string[]
  readonly folder: string
  readonly key: string
  readonly hide: readonly string[]
}

async function make({ name, files, flags, folder, key, hide }: Making): Promise<CProgramLookup> {
  const compiler = COMPILERS.filter((one) => !hide.includes(one)).flatMap(
    (one) => findProgram(one) ?? [],
  )[0]
  if (!compiler) return { missing: 'there is no C compiler to make it with' }
  const making = mkdtempSync(path.join(folder, 'making-'))
  try {
    const made = path.join(making, name)
    const complaint = await compile([compiler, ...flags], files, made)
    if (complaint !== undefined) return { missing: `the C compiler refused it: ${complaint}` }
    chmodSync(made, 0o555)
    renameSync(made, path.join(folder, `${key}-${hash('sha256', readFileSync(made), 'hex')}`))
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  for (const old of olderThan(folder, key)) rmSync(old, { recursive: true, force: true })
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
  const child = spawn(cc, [...flags, '-o', to, ...units], {
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', TMPDIR: path.dirname(to), LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: BUILD_MS_MAX,
    killSignal: 'SIGKILL',
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => void (said = (said + chunk.toString()).slice(0, 300)))
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code) =>
      resolve(code === 0 ? undefined : said.split('\n')[0] || `it ended (${code})`),
    )
  })
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

function olderThan(folder: string, key: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => !name.startsWith(key) && !name.startsWith('making-'))
    .map((name) => path.join(folder, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
    .slice(GENERATIONS_MAX - 1)
}
